// Microphone: posts pieces of 40 ms as 16-bit samples. Player: plays what is queued, drops it at once on request.

class Microphone extends AudioWorkletProcessor {
  constructor() {
    super();
    this.piece = new Int16Array(Math.round(sampleRate * 0.04));
    this.filled = 0;
    this.sum = 0;
  }

  process(inputs) {
    const channel = inputs[0][0];
    if (!channel) return true;
    for (const value of channel) {
      const clipped = Math.max(-1, Math.min(1, value));
      this.piece[this.filled++] = clipped < 0 ? clipped * 32768 : clipped * 32767;
      this.sum += clipped * clipped;
      if (this.filled === this.piece.length) {
        const data = this.piece.buffer.slice(0);
        this.port.postMessage({ data, level: Math.sqrt(this.sum / this.filled) }, [data]);
        this.filled = this.sum = 0;
      }
    }
    return true;
  }
}

class Player extends AudioWorkletProcessor {
  constructor() {
    super();
    this.queue = []; // of {item, samples}
    this.offset = 0; // in the first of the queue
    this.played = new Map(); // item → samples
    this.quiet = true;
    this.port.onmessage = ({ data }) => this.take(data);
  }

  take(message) {
    if (message.samples) this.queue.push(message);
    if (message.drop) {
      const playing = this.queue.length ? this.queue[0].item : null;
      this.queue = [];
      this.offset = 0;
      this.port.postMessage({ dropped: playing, played: Object.fromEntries(this.played) });
    }
  }

  process(_, outputs) {
    const output = outputs[0][0];
    let sum = 0;
    for (let index = 0; index < output.length; index++) {
      const first = this.queue[0];
      if (!first) break;
      output[index] = first.samples[this.offset++];
      sum += output[index] ** 2;
      if (index === 0 || this.offset === 1) this.begin(first.item);
      this.played.set(first.item, (this.played.get(first.item) || 0) + 1);
      if (this.offset === first.samples.length) {
        this.queue.shift();
        this.offset = 0;
      }
    }
    this.report(Math.sqrt(sum / output.length));
    return true;
  }

  begin(item) {
    if (this.quiet) this.port.postMessage({ began: item });
    this.quiet = false;
  }

  report(level) {
    if (!this.quiet && !this.queue.length) {
      this.quiet = true;
      this.port.postMessage({ ended: true, played: Object.fromEntries(this.played) });
    } else if (!this.quiet && (this.count = (this.count || 0) + 1) % 8 === 0) {
      this.port.postMessage({ level });
    }
  }
}

registerProcessor("microphone", Microphone);
registerProcessor("player", Player);
