/** Samples and extremes that were fetched, in chunks; what is missing is asked for in one request per stretch. */

import { getArrays } from "./api.js";

const COLUMNS = 128;
const MOST_BYTES = 24e6;
const MISSING = -32768;

export class TraceCache {
  /** @param {() => void} changed called when something has arrived @param {(error: Error) => void} failed */
  constructor(changed, failed) {
    this.changed = changed;
    this.failed = failed;
    this.chunks = new Map();
    this.waiting = new Map();
    this.bytes = 0;
    this.received = 0;
  }

  /** Look at another recording or view: what is on its way is not wanted any more. */
  use(values, sfreq, nTimes) {
    this.values = values;
    this.sfreq = sfreq;
    this.nTimes = nTimes;
    this.name = JSON.stringify(values);
    for (const { stop } of this.waiting.values()) stop.abort();
    this.waiting.clear();
  }

  size(step) {
    return step === 1 ? Math.max(1, Math.round(10 * this.sfreq)) : COLUMNS;
  }

  key(step, number) {
    return `${this.name}|${step}|${number}`;
  }

  /** Fetch the chunks that hold [first, first + count), in steps. */
  want(step, first, count) {
    const size = this.size(step), end = Math.ceil(this.nTimes / step);
    const from = Math.max(0, Math.floor(first / size));
    const to = Math.min(Math.ceil((first + count) / size), Math.ceil(end / size));
    let run = [];
    for (let number = from; number <= to; number++) {
      const key = this.key(step, number);
      if (number < to && !this.chunks.has(key) && !this.waiting.has(key)) {
        run.push(number);
      } else if (run.length) {
        this.fetch(step, run);
        run = [];
      }
    }
  }

  async fetch(step, run) {
    const size = this.size(step), stop = new AbortController(), values = this.values;
    const keys = run.map((number) => this.key(step, number));
    for (const key of keys) this.waiting.set(key, { stop });
    try {
      const reply = await getArrays("/api/viewer/traces",
        { ...values, step, first: run[0] * size, count: run.length * size }, { signal: stop.signal });
      this.received += reply.x.byteLength;
      keys.forEach((key, i) => this.keep(key, reply, i * size, size, step));
    } catch (error) {
      if (error.name !== "AbortError") this.failed(error);
    }
    for (const key of keys) if (this.waiting.get(key)?.stop === stop) this.waiting.delete(key);
    this.changed();
  }

  keep(key, reply, from, size, step) {
    const width = step === 1 ? 1 : 2;
    const rows = reply.x_shape[0], all = reply.x_shape[1], n = Math.max(0, Math.min(size, all - from));
    const x = new Int16Array(rows * n * width);
    for (let row = 0; row < rows; row++) {
      const at = (row * all + from) * width;
      x.set(reply.x.subarray(at, at + n * width), row * n * width);
    }
    this.chunks.set(key, { x, n, scale: reply.scale });
    this.bytes += x.byteLength;
    for (const [old, chunk] of this.chunks) {
      if (this.bytes <= MOST_BYTES || old === key) break;
      this.chunks.delete(old);
      this.bytes -= chunk.x.byteLength;
    }
  }

  /**
   * Copy [first, first + count) of a row, µV, NaN where missing; returns whether all of it has arrived.
   * With extremes, `low` and `high` are filled; with samples, `low` alone.
   */
  copy(step, row, first, count, low, high) {
    const size = this.size(step), end = Math.ceil(this.nTimes / step);
    let whole = true;
    for (let at = first; at < first + count; ) {
      const number = Math.floor(at / size), stop = Math.min((number + 1) * size, first + count);
      const chunk = at < 0 || at >= end ? null : this.chunks.get(this.key(step, number));
      if (chunk === undefined) whole = false;
      if (!chunk) {
        const until = at < 0 ? Math.min(0, stop) : stop;
        low.fill(NaN, at - first, until - first);
        if (high) high.fill(NaN, at - first, until - first);
        at = until;
        continue;
      }
      const scale = chunk.scale[row], base = row * chunk.n;
      for (; at < stop; at++) {
        const i = at - number * size, out = at - first;
        const known = i < chunk.n;
        if (high) {
          const a = known ? chunk.x[2 * (base + i)] : MISSING;
          low[out] = a === MISSING ? NaN : a * scale;
          high[out] = a === MISSING ? NaN : chunk.x[2 * (base + i) + 1] * scale;
        } else {
          const a = known ? chunk.x[base + i] : MISSING;
          low[out] = a === MISSING ? NaN : a * scale;
        }
      }
    }
    return whole;
  }

  get isWaiting() {
    return this.waiting.size > 0;
  }
}
