// The Realtime protocol over one WebSocket.

export class Realtime {
  constructor({ onEvent, onClose }) {
    this.onEvent = onEvent;
    this.onClose = onClose;
  }

  get open() {
    return this.socket?.readyState === WebSocket.OPEN;
  }

  connect(key) {
    const url = new URL("v1/realtime", location.href);
    url.protocol = location.protocol === "https:" ? "wss:" : "ws:";
    const protocols = ["realtime", ...(key ? [`openai-insecure-api-key.${key}`] : [])];
    return new Promise((resolve, reject) => {
      const socket = new WebSocket(url, protocols);
      this.socket = socket;
      socket.onerror = () => reject(new Error("The server cannot be reached, or needs an API key (Settings)."));
      socket.onmessage = ({ data }) => {
        this.onEvent(JSON.parse(data));
        resolve(); // the first event is the session
      };
      socket.onclose = (event) => this.socket === socket && this.onClose(event);
    });
  }

  send(event) {
    if (this.open) this.socket.send(JSON.stringify(event));
  }

  close() {
    const socket = this.socket;
    this.socket = undefined;
    socket?.close(1000);
  }
}
