// The page: one conversation, its state, its transcript.

import { RATE, Sound, readAudioFile } from "./audio.js";
import { readImageFile, readVideoFile, still } from "./images.js";
import { Realtime } from "./realtime.js";

const $ = (id) => document.getElementById(id);
const STATES = { off: "Not connected", listening: "Listening", thinking: "Thinking", speaking: "Speaking", ready: "Ready" };
const lines = new Map(); // item → its line of the transcript
const times = {}; // when things happened, by performance.now
let response = null; // id of the answer that is being made
let playing = null; // item whose audio plays
let attached = []; // parts that go with the next question
let microphoneOn = false;

const sound = new Sound({ onPiece: sendPiece, onPlayer: takePlayer });
const realtime = new Realtime({ onEvent: takeEvent, onClose: closed });

// ---- what the page shows ----

function show(state) {
  $("orb").dataset.state = state === "ready" ? "off" : state;
  if ($("state").textContent !== STATES[state]) $("state").textContent = STATES[state];
}

function rest() {
  show(!realtime.open ? "off" : playing ? "speaking" : response ? "thinking" : microphoneOn && !sound.muted ? "listening" : "ready");
}

function problem(text) {
  $("problem").textContent = text;
}

function line(item, who) {
  if (!lines.has(item)) {
    const entry = document.createElement("li");
    entry.className = who;
    entry.append(Object.assign(document.createElement("b"), { textContent: who === "user" ? "You" : "Model" }), document.createTextNode(""));
    $("log").append(entry);
    lines.set(item, entry);
  }
  return lines.get(item);
}

function write(item, who, text, { more = false } = {}) {
  const node = line(item, who).childNodes[1];
  node.textContent = more ? node.textContent + text : text;
  $("log").scrollTop = $("log").scrollHeight;
}

function showImage(item, url) {
  line(item, "user").append(Object.assign(document.createElement("img"), { src: url, alt: "the image that you sent" }));
}

function milliseconds(id, from) {
  if (from !== undefined) $(id).textContent = `${Math.round(performance.now() - from)} ms`;
}

// ---- the connection ----

async function connect({ microphone }) {
  problem("");
  try {
    await sound.open();
    if (!realtime.open) {
      await realtime.connect($("key").value.trim());
      configure();
    }
    if (microphone) {
      await sound.openMicrophone();
      microphoneOn = true;
    }
  } catch (error) {
    problem(error.name === "NotAllowedError" ? "The browser does not let this page use the microphone." : error.message);
  }
  update();
}

function disconnect() {
  sound.drop();
  sound.closeMicrophone();
  microphoneOn = false;
  realtime.close();
  response = playing = null;
  update();
}

function closed(event) {
  if (event.code !== 1000) problem(`The connection has ended${event.reason ? ` (${event.reason})` : ""}.`);
  disconnect();
}

function configure() {
  const turns = $("turns").value;
  const detection = turns === "none" ? null : { type: turns };
  const audio = { input: { turn_detection: detection, transcription: { model: "own" } } };
  const session = { type: "realtime", instructions: $("instructions").value, audio };
  if (!$("modality").disabled) session.output_modalities = [$("modality").value];
  realtime.send({ type: "session.update", session });
}

function update() {
  const byHand = $("turns").value === "none";
  $("start").textContent = microphoneOn ? "End" : "Start talking";
  $("start").classList.toggle("main", !microphoneOn);
  $("talk").hidden = $("talk-help").hidden = !(microphoneOn && byHand);
  $("mute").disabled = !microphoneOn || byHand;
  $("camera").disabled = !navigator.mediaDevices;
  $("stop").disabled = !(response || playing);
  sound.muted = microphoneOn && byHand ? true : $("mute").getAttribute("aria-pressed") === "true";
  rest();
}

// ---- sound ----

function sendPiece(audio, level) {
  realtime.send({ type: "input_audio_buffer.append", audio });
  if (!playing) $("orb").style.setProperty("--level", Math.min(1, level * 4).toFixed(2));
}

function takePlayer(message) {
  if (message.began !== undefined) {
    playing = message.began;
    milliseconds("first-audio", times.asked);
    update();
  }
  if (message.level !== undefined) $("orb").style.setProperty("--level", Math.min(1, message.level * 4).toFixed(2));
  if (message.ended) {
    playing = null;
    update();
  }
  if (message.dropped) {
    milliseconds("stop-time", times.speech);
    truncate(message.dropped, message.played[message.dropped] || 0);
  }
}

function truncate(item, samples) {
  lines.get(item)?.classList.add("cut");
  realtime.send({ type: "conversation.item.truncate", item_id: item, content_index: 0, audio_end_ms: Math.floor((samples * 1000) / RATE) });
}

function stopAnswer() {
  if (response) realtime.send({ type: "response.cancel" });
  sound.drop();
  response = playing = null;
  update();
}

// ---- the server's events ----

const EVENTS = {
  "session.created": ({ session }) => {
    $("model").textContent = session.model;
    if (session.output_modalities[0] === "text") Object.assign($("modality"), { value: "text", disabled: true });
  },
  "input_audio_buffer.speech_started": ({ item_id }) => {
    times.speech = performance.now();
    sound.drop();
    playing = null;
    write(item_id, "user", "…");
    show("listening");
  },
  "input_audio_buffer.speech_stopped": () => {
    times.asked = performance.now();
    show("thinking");
  },
  "input_audio_buffer.cleared": () => {
    for (const [item, entry] of lines) if (entry.childNodes[1].textContent === "…") { entry.remove(); lines.delete(item); }
    rest();
  },
  "input_audio_buffer.committed": ({ item_id }) => write(item_id, "user", "(spoken)"),
  "conversation.item.input_audio_transcription.completed": ({ item_id, transcript }) => write(item_id, "user", transcript || "(spoken)"),
  "response.created": (event) => {
    response = event.response.id;
    times.first = undefined;
    update();
  },
  "response.output_audio_transcript.delta": (event) => text(event),
  "response.output_text.delta": (event) => text(event),
  "response.output_audio.delta": ({ item_id, response_id, delta }) => response_id === response && sound.play(item_id, delta),
  "conversation.item.truncated": ({ item_id }) => realtime.send({ type: "conversation.item.retrieve", item_id }),
  "conversation.item.retrieved": ({ item }) => item.role === "assistant" && write(item.id, "model", item.content[0].transcript || "…"),
  "response.done": (event) => {
    if (event.response.status === "failed") problem(event.response.status_details?.error?.message || "The answer failed.");
    if (event.response.id === response) response = null;
    update();
  },
  error: ({ error }) => error.code !== "response_cancel_not_active" && problem(error.message),
};

function text({ item_id, delta }) {
  if (times.first === undefined) {
    times.first = performance.now();
    milliseconds("first-text", times.asked);
  }
  write(item_id, "model", delta, { more: true });
}

function takeEvent(event) {
  EVENTS[event.type]?.(event);
}

// ---- questions ----

function ask(parts, { answer = true } = {}) {
  const item_id = `item_${crypto.randomUUID().replaceAll("-", "").slice(0, 24)}`;
  const typed = parts.filter((part) => part.type === "input_text").map((part) => part.text).join(" ");
  const spoken = parts.some((part) => part.type === "input_audio");
  write(item_id, "user", typed || (spoken ? "(audio file)" : ""));
  parts.filter((part) => part.type === "input_image").forEach((part) => showImage(item_id, part.image_url));
  realtime.send({ type: "conversation.item.create", item: { id: item_id, type: "message", role: "user", content: parts } });
  if (!answer) return;
  if (response || playing) stopAnswer();
  times.asked = performance.now();
  realtime.send({ type: "response.create" });
}

async function submit(event) {
  event.preventDefault();
  const typed = $("question").value.trim();
  if (!typed && !attached.length) return;
  await connect({ microphone: false });
  if (!realtime.open) return;
  ask([...attached, ...(typed ? [{ type: "input_text", text: typed }] : [])]);
  attached = [];
  $("question").value = "";
  $("question").placeholder = "Type a question";
}

async function attach(event) {
  const [file] = event.target.files;
  event.target.value = "";
  if (!file) return;
  try {
    const kind = file.type.split("/")[0];
    if (kind === "audio") attached.push({ type: "input_audio", audio: await readAudioFile(file) });
    else attached.push(...(kind === "video" ? await readVideoFile(file) : [await readImageFile(file)]).map(
      (image_url) => ({ type: "input_image", image_url })));
    $("question").placeholder = `${file.name} goes with your question`;
    $("question").focus();
  } catch (error) {
    problem(`${file.name} cannot be read (${error.message}).`);
  }
}

// ---- the camera ----

async function toggleCamera() {
  const preview = $("preview");
  if (preview.srcObject) {
    preview.srcObject.getTracks().forEach((track) => track.stop());
    preview.srcObject = null;
  } else {
    try {
      preview.srcObject = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" } });
      await preview.play();
    } catch (error) {
      problem(`The camera cannot be used (${error.message}).`);
    }
  }
  const on = Boolean(preview.srcObject);
  preview.hidden = $("still").hidden = !on;
  $("camera").setAttribute("aria-pressed", String(on));
}

async function sendStill() {
  await connect({ microphone: false });
  if (realtime.open) ask([{ type: "input_image", image_url: still($("preview")) }], { answer: false });
}

// ---- the talk button ----

function startTurn(event) {
  if (event.type === "keydown" && (event.key !== " " || event.repeat)) return;
  event.preventDefault();
  if (response || playing) stopAnswer();
  realtime.send({ type: "input_audio_buffer.clear" });
  sound.muted = false;
  show("listening");
}

function endTurn(event) {
  if ((event.type === "keyup" && event.key !== " ") || sound.muted) return;
  event.preventDefault();
  sound.muted = true;
  times.asked = performance.now();
  realtime.send({ type: "input_audio_buffer.commit" });
  realtime.send({ type: "response.create" });
}

$("start").addEventListener("click", () => (microphoneOn ? disconnect() : connect({ microphone: true })));
$("stop").addEventListener("click", stopAnswer);
$("mute").addEventListener("click", () => {
  $("mute").setAttribute("aria-pressed", String($("mute").getAttribute("aria-pressed") !== "true"));
  update();
});
$("camera").addEventListener("click", toggleCamera);
$("still").addEventListener("click", sendStill);
$("form").addEventListener("submit", submit);
$("file").addEventListener("change", attach);
for (const id of ["turns", "modality", "instructions"]) $(id).addEventListener("change", () => (configure(), update()));
for (const name of ["pointerdown", "keydown"]) $("talk").addEventListener(name, startTurn);
for (const name of ["pointerup", "pointerleave", "keyup"]) $("talk").addEventListener(name, endTurn);
fetch("page/model").then((reply) => reply.json()).then(({ model }) => ($("model").textContent = model)).catch(() => {});
update();
