// A spoken conversation by OpenAI's stock SDK for agents: only the URL is changed. The question is asked twice, the second time
// while the first answer plays, so that the SDK truncates it to what was played.
//   npm install && node talk.mjs ws://127.0.0.1:8000/v1/realtime question.wav [image.png]
// The question is mono, 16 bits, 24 000 Hz; an image is shown before it.
import { readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { OpenAIRealtimeWebSocket, RealtimeAgent, RealtimeSession } from "@openai/agents/realtime";

const RATE = 24000; // Hz, of audio/pcm
const PIECE_MS = 100;
const [url, file, image] = process.argv.slice(2);

const agent = new RealtimeAgent({ name: "omnikit", instructions: "" });
const session = new RealtimeSession(agent, {
  transport: new OpenAIRealtimeWebSocket({ url }),
  model: "omnikit",
  tracingDisabled: true,
  config: { audio: { input: { turnDetection: { type: "server_vad", interruptResponse: true, createResponse: true } } } },
});

let audioMs = 0;
let shown = "";
session.on("transport_event", (event) => {
  if (event.type !== shown && event.type !== "session.updated") console.log(" ", (shown = event.type));
  if (event.type === "response.done") console.log("    status", event.response.status, "usage", JSON.stringify(event.response.usage));
  if (event.type === "conversation.item.truncated") console.log("    audio_end_ms", event.audio_end_ms);
});
session.on("audio", ({ data }) => (audioMs += data.byteLength / 2 / (RATE / 1000)));
session.on("audio_interrupted", () => console.log("  (the SDK stops its playback)"));
session.on("error", ({ error }) => console.log("  error", JSON.stringify(error)));

await session.connect({ apiKey: "none", url });
if (image) session.addImage(`data:image/png;base64,${readFileSync(image, "base64")}`, { triggerResponse: false });
console.log("question");
await speak(samples(file), 800);
await until(() => audioMs > 0);
await sleep(700);
console.log("question, while the answer plays");
audioMs = 0;
await speak(samples(file), 800);
await until(() => audioMs > 0);
await sleep(2000);
for (const item of session.history) console.log(item.role, item.status, JSON.stringify(item.content.map((part) => part.transcript ?? part.type)));
session.close();
process.exit(0);

function samples(path) {
  const wav = readFileSync(path);
  const at = wav.indexOf("data") + 8;
  if (wav.readUInt32LE(24) !== RATE || wav.readUInt16LE(22) !== 1) throw new Error(`${path} must be mono at ${RATE} Hz.`);
  return wav.subarray(at, at + wav.readUInt32LE(at - 4));
}

async function speak(audio, silenceMs) {
  const size = (2 * RATE * PIECE_MS) / 1000;
  const all = Buffer.concat([audio, Buffer.alloc(2 * Math.ceil((silenceMs * RATE) / 1000))]);
  for (let start = 0; start < all.length; start += size) {
    const piece = all.subarray(start, start + size);
    session.sendAudio(piece.buffer.slice(piece.byteOffset, piece.byteOffset + piece.length));
    await sleep(PIECE_MS);
  }
}

async function until(holds) {
  for (let waited = 0; !holds(); waited += 20) {
    if (waited > 30000) throw new Error("No answer came within 30 s.");
    await sleep(20);
  }
}
