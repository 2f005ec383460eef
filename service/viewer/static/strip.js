/** The newest seconds of a stream: derivations, a causal filter, every pixel from its smallest to its largest sample. */

import { columnExtremes, paint } from "./extremes.js";

const HIGH_PASS_HZ = 0.5, LOW_PASS_HZ = 35;
const CHAINS = [
  ["left", "Fp1 F7 T3 T5 O1"], ["left", "Fp1 F3 C3 P3 O1"], ["midline", "Fz Cz Pz"],
  ["right", "Fp2 F4 C4 P4 O2"], ["right", "Fp2 F8 T4 T6 O2"],
];
const FEW = ["F7 T5", "F3 P3", "F4 P4", "F8 T6"];

/** The longitudinal chains as far as they are there, or four pairs; channels as sent where none is. */
export function rowsOf({ ch_names, electrodes }, isShort) {
  const at = (name) => electrodes.indexOf(name);
  const chains = isShort ? FEW.map((names, i) => [i < 2 ? "left" : "right", names]) : CHAINS;
  const pairs = chains.flatMap(([side, names]) => {
    const list = names.split(" ");
    return list.slice(1).map((name, i) => [side, list[i], name]);
  });
  const rows = pairs.filter(([, a, b]) => at(a) >= 0 && at(b) >= 0)
    .map(([side, a, b]) => ({ label: `${a}–${b}`, a: at(a), b: at(b), side }));
  if (rows.length) return rows;
  return ch_names.slice(0, isShort ? 4 : 24).map((label, a) => ({ label, a, b: -1, side: "other" }));
}

export class Strip {
  constructor(canvas, style, { seconds = 10, isShort = false, gutter = 0 } = {}) {
    Object.assign(this, { canvas, style, seconds, isShort, gutter, rows: [], next: 0, uvPerRow: 120 });
  }

  begin(stream) {
    this.sfreq = stream.sfreq;
    this.n = stream.ch_names.length;
    this.size = Math.round(this.seconds * this.sfreq);
    const w = Math.tan((Math.PI * Math.min(LOW_PASS_HZ, 0.4 * this.sfreq)) / this.sfreq), d = 1 + Math.SQRT2 * w + w * w;
    this.low = { b: (w * w) / d, a1: (2 * (w * w - 1)) / d, a2: (1 - Math.SQRT2 * w + w * w) / d };
    this.keep = Math.exp((-2 * Math.PI * HIGH_PASS_HZ) / this.sfreq);
    this.rows = rowsOf(stream, this.isShort).map((row) => ({ ...row, x: new Float32Array(this.size).fill(NaN), memory: null }));
    this.next = 0;
  }

  /** Samples time by time from number `first` on; what is missing between is a gap. */
  push(first, values) {
    if (!this.n) return;
    const count = values.length / this.n, gap = this.next ? Math.min(Math.max(0, first - this.next), this.size) : 0;
    const fresh = Math.min(gap + count, this.size);
    for (const row of this.rows) {
      row.x.copyWithin(0, fresh);
      row.x.fill(NaN, this.size - fresh);
      if (gap) row.memory = null;
      for (let i = 0; i < count; i++) {
        const value = this.filtered(row, values[i * this.n + row.a] - (row.b < 0 ? 0 : values[i * this.n + row.b]));
        const at = this.size - count + i;
        if (at >= 0) row.x[at] = value;
      }
    }
    this.next = first + count;
  }

  /** First-order high-pass, then a second-order Butterworth low-pass; both begin anew after what is missing. */
  filtered(row, x) {
    if (Number.isNaN(x)) {
      row.memory = null;
      return NaN;
    }
    const m = (row.memory ||= { x, y: 0, u1: 0, u2: 0, v1: 0, v2: 0 }), { b, a1, a2 } = this.low;
    m.y = this.keep * (m.y + x - m.x);
    const v = b * (m.y + 2 * m.u1 + m.u2) - a1 * m.v1 - a2 * m.v2;
    m.x = x;
    m.u2 = m.u1;
    m.u1 = m.y;
    m.v2 = m.v1;
    m.v1 = v;
    return v;
  }

  draw() {
    const { canvas, style } = this, ratio = window.devicePixelRatio || 1;
    const width = Math.max(1, Math.round(canvas.clientWidth * ratio)), height = Math.max(1, Math.round(canvas.clientHeight * ratio));
    const context = canvas.getContext("2d");
    if (canvas.width !== width || canvas.height !== height || !this.pixels) {
      Object.assign(canvas, { width, height });
      this.picture = context.createImageData(width, height);
      this.pixels = new Uint32Array(this.picture.data.buffer);
      [this.least, this.most] = [0, 1].map(() => new Float32Array(width));
    }
    this.pixels.fill(0);
    const left = Math.round(this.gutter * ratio), wide = width - left, space = height / Math.max(1, this.rows.length);
    this.rows.forEach((row, i) => {
      columnExtremes(row.x, this.size, 0, 0, this.size / wide, wide, this.least, this.most);
      paint(this.pixels, width, height, left, this.least, this.most, wide, (i + 0.5) * space, space / this.uvPerRow,
        style.trace(row), Math.max(1, 1.1 * ratio));
    });
    context.putImageData(this.picture, 0, 0);
    if (!this.gutter) return;
    context.font = style.font(11 * ratio);
    context.textBaseline = "middle";
    this.rows.forEach((row, i) => {
      context.fillStyle = style.side(row);
      context.fillText(row.label, 4 * ratio, (i + 0.5) * space, left - 6 * ratio);
    });
  }
}
