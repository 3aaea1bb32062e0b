// Sound in and out, at the 24 000 samples a second of the Realtime protocol.

export const RATE = 24000;

export class Sound {
  // Owns the audio context, the microphone and the player.
  constructor({ onPiece, onPlayer }) {
    this.onPiece = onPiece;
    this.onPlayer = onPlayer;
    this.muted = false;
  }

  async open() {
    if (this.context) return this.context.resume();
    this.context = new AudioContext({ sampleRate: RATE, latencyHint: "interactive" });
    await this.context.audioWorklet.addModule("worklets.js");
    this.player = new AudioWorkletNode(this.context, "player", { numberOfInputs: 0, outputChannelCount: [1] });
    this.player.connect(this.context.destination);
    this.player.port.onmessage = ({ data }) => this.onPlayer(data);
    await this.context.resume();
  }

  async openMicrophone() {
    if (this.stream) return;
    this.stream = await navigator.mediaDevices.getUserMedia({
      audio: { channelCount: 1, echoCancellation: true, noiseSuppression: true, autoGainControl: true },
    });
    const source = this.context.createMediaStreamSource(this.stream);
    this.microphone = new AudioWorkletNode(this.context, "microphone", { numberOfOutputs: 0, channelCount: 1, channelCountMode: "explicit" });
    this.microphone.port.onmessage = ({ data }) => this.muted || this.onPiece(toBase64(data.data), data.level);
    source.connect(this.microphone);
  }

  closeMicrophone() {
    this.stream?.getTracks().forEach((track) => track.stop());
    this.microphone?.disconnect();
    this.stream = this.microphone = undefined;
  }

  play(item, base64) {
    const bytes = fromBase64(base64);
    const whole = new Int16Array(bytes.buffer, 0, bytes.length >> 1);
    const samples = Float32Array.from(whole, (value) => value / 32768);
    if (samples.length) this.player.port.postMessage({ item, samples }, [samples.buffer]);
  }

  drop() {
    this.player?.port.postMessage({ drop: true });
  }
}

export async function readAudioFile(file) {
  // Gives the samples of an audio file as base64 of 16-bit PCM.
  const decoder = new OfflineAudioContext(1, 1, RATE);
  const decoded = await decoder.decodeAudioData(await file.arrayBuffer());
  const offline = new OfflineAudioContext(1, Math.max(1, Math.ceil(decoded.duration * RATE)), RATE);
  const source = offline.createBufferSource();
  source.buffer = decoded;
  source.connect(offline.destination);
  source.start();
  const samples = (await offline.startRendering()).getChannelData(0);
  return toBase64(Int16Array.from(samples, (value) => Math.max(-1, Math.min(1, value)) * 32767).buffer);
}

function toBase64(buffer) {
  const bytes = new Uint8Array(buffer);
  let text = "";
  for (let start = 0; start < bytes.length; start += 0x8000) text += String.fromCharCode(...bytes.subarray(start, start + 0x8000));
  return btoa(text);
}

function fromBase64(base64) {
  return Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
}
