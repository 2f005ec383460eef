/** A socket of the server that comes back by itself, with a new ticket. */

import { postJson } from "./api.js";

const AGAIN_MS = 700;

export class Feed {
  /** @param {Function} path with the query, called at each connection; `takes`: frame, samples, state, refused */
  constructor(path, takes) {
    Object.assign(this, { path, takes, isThere: false, isClosed: false });
    this.open();
  }

  async open() {
    if (this.isClosed) return;
    let ticket;
    try {
      ({ ticket } = await postJson("/tickets", {}));
    } catch (error) {
      if (error.status === 401 || error.status === 403) {
        this.isClosed = true;
        this.takes.refused?.(error);
      } else this.again();
      return;
    }
    if (this.isClosed) return;
    const path = this.path(), mark = path.includes("?") ? "&" : "?";
    this.socket = new WebSocket(`${location.origin.replace("http", "ws")}${path}${mark}ticket=${ticket}`);
    this.socket.binaryType = "arraybuffer";
    this.socket.onopen = () => this.is(true);
    this.socket.onclose = () => (this.is(false), this.again());
    this.socket.onmessage = ({ data }) => {
      if (typeof data === "string") this.takes.frame(JSON.parse(data));
      else this.takes.samples?.(Number(new DataView(data).getBigUint64(0, true)), new Float32Array(data, 8));
    };
  }

  is(there) {
    if (there !== this.isThere) this.takes.state?.((this.isThere = there));
  }

  again() {
    if (!this.isClosed) setTimeout(() => this.open(), AGAIN_MS);
  }

  close() {
    this.isClosed = true;
    this.socket?.close();
  }
}
