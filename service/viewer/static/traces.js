/** The page of traces: grid, traces, what lies over them. Three canvases, so that a caliper costs no new trace. */

import { abgr, columnExtremes, paint } from "./extremes.js";
import { plate } from "./dom.js";
import { clock, gapsOf, roundStep } from "./time.js";

const LEAST_ROW = 13;
const BIN = 64, DIRECT = 4 * BIN, MOST_SAMPLES = 16384, MOST_COLUMNS = 1600;
const ECG_UV_PER_MM = 100;

export class Traces {
  constructor(host, state, cache, style) {
    Object.assign(this, { host, state, cache, style });
    [this.grid, this.lines, this.over] = ["grid", "lines", "over"].map((name) => host.querySelector(`canvas.${name}`));
    this.low = new Float32Array(0);
    this.firstRow = 0;
    this.caliper = null;
    this.pointer = null;
    new ResizeObserver(() => this.resize()).observe(host);
    this.resize();
  }

  resize() {
    const box = this.host.getBoundingClientRect(), ratio = window.devicePixelRatio || 1;
    this.ratio = ratio;
    this.width = Math.max(1, Math.round(box.width));
    this.height = Math.max(1, Math.round(box.height));
    for (const canvas of [this.grid, this.lines, this.over]) {
      canvas.width = Math.round(this.width * ratio);
      canvas.height = Math.round(this.height * ratio);
    }
    this.gutter = this.width < 600 ? 58 : 84;
    this.foot = 20;
    this.picture = null;
    this.state.touch();
  }

  /** Pixels for time, in the canvas's own pixels. */
  get wide() {
    return Math.max(1, this.lines.width - Math.round(this.gutter * this.ratio));
  }

  /** Samples per column and pixels per column: samples themselves, or extremes of whole steps. */
  plan() {
    const { sfreq, page } = this.state;
    const samples = page * sfreq;
    if (samples <= MOST_SAMPLES) return { step: 1, each: 1, perPixel: samples / this.wide };
    const each = Math.ceil(this.wide / MOST_COLUMNS);
    let step = Math.max(2, Math.ceil((samples * each) / this.wide - 1e-9));
    if (step >= DIRECT) step = Math.ceil(step / BIN) * BIN;
    return { step, each, perPixel: step / each };
  }

  /** Seconds that are on the screen: steps are whole, so it may be a little more than was asked for. */
  get shown() {
    const plan = this.plan();
    return plan.step === 1 ? this.state.page : (this.wide * plan.perPixel) / this.state.sfreq;
  }

  /** @returns {{first: number, count: number}} steps from `start` for one page */
  range(plan, start) {
    const from = Math.floor((start * this.state.sfreq) / plan.step);
    return { first: from - (plan.step === 1 ? 1 : 0), count: Math.ceil((this.wide * plan.perPixel) / plan.step) + 3 };
  }

  /** Ask for this page, and for its neighbours. */
  fetch(ahead = 1) {
    const plan = this.plan(), { start } = this.state;
    const { first, count } = this.range(plan, start);
    this.cache.want(plan.step, first, count - 3);
    if (plan.step < DIRECT && ahead) {
      this.cache.want(plan.step, first + count - 2, Math.round(count * ahead));
      this.cache.want(plan.step, first - count, count);
    }
  }

  layout() {
    const rows = this.state.rows, most = Math.max(1, Math.floor((this.height - this.foot - 8) / LEAST_ROW));
    const n = Math.min(rows.length, most);
    this.firstRow = Math.max(0, Math.min(this.firstRow, rows.length - n));
    const seen = rows.slice(this.firstRow, this.firstRow + n);
    const gaps = seen.filter((row, i) => i > 0 && row.group !== seen[i - 1].group).length;
    const space = (this.height - this.foot - 8) / (n + 0.45 * gaps);
    let y = 4 - space / 2;
    this.places = seen.map((row, i) => {
      y += space + (i > 0 && row.group !== seen[i - 1].group ? 0.45 * space : 0);
      return { row, index: this.firstRow + i, y };
    });
    this.space = space;
  }

  /** Pixels of the screen per µV of a row; negative is up. */
  gain(row) {
    const perMm = row.kind === "ecg" ? ECG_UV_PER_MM * (this.state.sensitivity / 7) : this.state.sensitivity;
    return (this.state.pxPerMm / perMm) * (this.state.negativeUp ? 1 : -1);
  }

  x(second) {
    return this.gutter + ((second - this.state.start) / this.shown) * (this.width - this.gutter);
  }

  second(x) {
    return this.state.start + ((x - this.gutter) / (this.width - this.gutter)) * this.shown;
  }

  draw() {
    if (!this.state.rows.length) return;
    this.layout();
    this.drawGrid();
    this.isWhole = this.drawTraces();
    this.drawOver();
  }

  drawTraces() {
    const started = performance.now();
    const context = this.lines.getContext("2d"), { width, height } = this.lines;
    if (!this.picture) {
      this.picture = context.createImageData(width, height);
      this.pixels = new Uint32Array(this.picture.data.buffer);
    }
    this.pixels.fill(0);
    const plan = this.plan(), { first, count } = this.range(plan, this.state.start);
    const left = width - this.wide, wide = this.wide, floor = height - Math.round(this.foot * this.ratio);
    if (this.low.length < Math.max(count, wide)) {
      [this.low, this.high, this.columnLow, this.columnHigh] =
        [0, 1, 2, 3].map(() => new Float32Array(Math.max(count, wide) + 8));
    }
    let isWhole = true;
    for (const { row, index, y } of this.places) {
      const fits = plan.step === 1
        ? this.samples(index, first, count, plan, wide)
        : this.extremes(index, first, count, plan, wide);
      isWhole = fits && isWhole;
      paint(this.pixels, width, floor, left, this.columnLow, this.columnHigh, wide, y * this.ratio,
        this.gain(row) * this.ratio, this.style.trace(row), Math.max(1, 1.1 * this.ratio));
    }
    context.putImageData(this.picture, 0, 0);
    this.drawMs = performance.now() - started;
    return isWhole;
  }

  samples(row, first, count, plan, wide) {
    const whole = this.cache.copy(1, row, first, count, this.low, null);
    columnExtremes(this.low, count, first, this.state.start * this.state.sfreq, plan.perPixel, wide,
      this.columnLow, this.columnHigh);
    return whole;
  }

  extremes(row, first, count, plan, wide) {
    const whole = this.cache.copy(plan.step, row, first, count, this.low, this.high);
    const { columnLow, columnHigh } = this;
    for (let c = 0; c < wide; c++) {
      const i = Math.floor(c / plan.each);
      columnLow[c] = this.low[i];
      columnHigh[c] = this.high[i];
    }
    return whole;
  }

  drawGrid() {
    const context = this.context(this.grid), { start, duration } = this.state, colours = this.style;
    const shown = this.shown, right = this.width, bottom = this.height - this.foot;
    context.fillStyle = colours.paper;
    context.fillRect(0, 0, this.width, this.height);
    const step = roundStep(shown, Math.max(4, (right - this.gutter) / 90)), fine = step / 5;
    if (shown <= 60) this.verticals(context, fine, bottom, colours.gridFine);
    this.verticals(context, step, bottom, colours.grid);
    context.fillStyle = colours.soft;
    context.font = colours.font(12);
    for (let t = Math.ceil(start / step) * step; t <= start + shown; t += step) {
      const x = this.x(t);
      if (x > right - 30) break;
      if (t > duration) break;
      context.fillText(clock(t, step < 1 ? 1 : 0), x + 3, this.height - 6);
    }
    for (const [from, to] of gapsOf(this.state)) this.gap(context, from, to, "no recording");
    if (start + shown > duration) this.gap(context, duration, start + shown, "end of recording");
    if (start < 0) this.gap(context, start, 0, "");
  }

  verticals(context, step, bottom, colour) {
    context.strokeStyle = colour;
    context.beginPath();
    const { start } = this.state;
    for (let t = Math.ceil(start / step - 1e-6) * step; t <= start + this.shown; t += step) {
      const x = Math.round(this.x(t)) + 0.5;
      context.moveTo(x, 0);
      context.lineTo(x, bottom);
    }
    context.stroke();
  }

  gap(context, from, to, words) {
    const a = Math.max(this.gutter, this.x(from)), b = Math.min(this.width, this.x(to));
    if (b - a < 0.5) return;
    context.fillStyle = this.style.hatch(context);
    context.fillRect(a, 0, b - a, this.height - this.foot);
    if (words && b - a > 110) {
      context.font = this.style.font(13);
      plate(context, words, (a + b - context.measureText(words).width) / 2, this.height / 2 + 3, this.style);
    }
  }

  context(canvas) {
    const context = canvas.getContext("2d");
    context.setTransform(this.ratio, 0, 0, this.ratio, 0, 0);
    return context;
  }

  drawOver() {
    const context = this.context(this.over);
    context.clearRect(0, 0, this.width, this.height);
    this.drawMarks(context);
    this.drawLabels(context);
    this.drawScale(context);
    if (this.state.evidence) this.state.evidence(context, this);
    if (this.caliper) this.drawCaliper(context);
    if (!this.isWhole) this.drawLoading(context);
  }

  drawMarks(context) {
    const { artifacts, showArtifacts, events, selected } = this.state, colours = this.style;
    if (showArtifacts && artifacts) {
      context.fillStyle = colours.artifact;
      for (const { electrode, start_s, stop_s } of artifacts) {
        const a = Math.max(this.gutter, this.x(start_s)), b = Math.min(this.width, this.x(stop_s));
        if (b <= a) continue;
        for (const { row, y } of this.places) {
          if (row.electrodes.includes(electrode)) context.fillRect(a, y - this.space / 2, b - a, this.space);
        }
      }
    }
    context.font = colours.font(12);
    let last = -Infinity;
    for (const event of events) {
      const a = this.x(event.start_s), b = this.x(event.stop_s);
      if (b < this.gutter || a > this.width) continue;
      const from = Math.max(this.gutter, a), is = event === selected;
      context.fillStyle = event.colour + (is ? "2e" : "17");
      if (b > a) context.fillRect(from, 0, Math.min(b, this.width) - from, this.height - this.foot);
      context.fillStyle = event.colour;
      if (a >= this.gutter) context.fillRect(a, 0, 2, this.height - this.foot);
      if (from > last) {
        const words = event.label.length > 40 ? event.label.slice(0, 39) + "…" : event.label;
        plate(context, words, from + 7, 13, colours);
        last = from + context.measureText(words).width + 12;
      }
    }
  }

  drawLabels(context) {
    const colours = this.style, bad = this.state.bad;
    context.fillStyle = colours.paper;
    context.fillRect(0, 0, this.gutter - 1, this.height);
    const size = Math.max(9, Math.min(13, this.space * 0.9));
    context.font = colours.font(size);
    context.textBaseline = "middle";
    for (const { row, y } of this.places) {
      const isBad = row.electrodes.some((name) => bad.has(name));
      context.fillStyle = isBad ? colours.soft : colours.side(row);
      let words = row.label;
      while (words.length > 1 && context.measureText(words).width > this.gutter - 12) words = words.slice(0, -1);
      context.fillText(words, 6, y);
      if (isBad) {
        const wide = context.measureText(words).width;
        context.fillRect(6, y, wide, 1);
        if (this.gutter - 12 - wide > 22) context.fillText("bad", wide + 11, y);
      }
    }
    context.textBaseline = "alphabetic";
    const rest = this.state.rows.length - this.places.length;
    if (rest > 0) {
      context.fillStyle = colours.soft;
      context.font = colours.font(11);
      context.fillText(`${this.firstRow + 1}–${this.firstRow + this.places.length} of ${this.state.rows.length}`, 4, this.height - 6);
    }
  }

  /** A bar of one second and of so many µV, at the lower right. */
  drawScale(context) {
    const colours = this.style, uv = this.state.sensitivity * 10, high = 10 * this.state.pxPerMm;
    const wide = Math.min(this.x(this.state.start + 1) - this.gutter, 160);
    const seconds = this.shown <= 60 ? 1 : 0, x = this.width - 14, y = this.height - this.foot - 8;
    context.strokeStyle = colours.ink;
    context.lineWidth = 1.5;
    context.beginPath();
    context.moveTo(x, y - high);
    context.lineTo(x, y);
    if (seconds) context.lineTo(x - wide, y);
    context.stroke();
    context.lineWidth = 1;
    const words = `${uv} µV${seconds ? " · 1 s" : ""}`;
    context.font = colours.font(12);
    plate(context, words, x - context.measureText(words).width - 7, y - 8, colours);
  }

  drawLoading(context) {
    const words = this.state.waitingFor || "Loading…";
    context.font = this.style.font(13);
    plate(context, words, (this.width + this.gutter - context.measureText(words).width) / 2, 44, this.style);
  }

  /** What a caliper reads: seconds, Hz, and µV of the row under its beginning. */
  reading() {
    const { a, b } = this.caliper;
    const place = this.places.reduce((best, one) => (Math.abs(one.y - a.y) < Math.abs(best.y - a.y) ? one : best));
    const seconds = Math.abs(this.second(b.x) - this.second(a.x));
    const uv = (b.y - a.y) / this.gain(place.row);
    return { label: place.row.label, seconds, uv, hz: seconds > 0 ? 1 / seconds : NaN };
  }

  drawCaliper(context) {
    const { a, b } = this.caliper, colours = this.style, read = this.reading();
    context.strokeStyle = colours.accent;
    context.fillStyle = colours.accent + "18";
    context.fillRect(a.x, a.y, b.x - a.x, b.y - a.y);
    context.strokeRect(a.x + 0.5, a.y + 0.5, b.x - a.x, b.y - a.y);
    const words = `${read.label}: ${Math.abs(read.uv).toFixed(0)} µV, ${read.seconds.toFixed(read.seconds < 1 ? 3 : 2)} s` +
      (read.hz < 100 ? `, ${read.hz.toFixed(1)} Hz` : "");
    context.font = colours.font(13);
    const wide = context.measureText(words).width;
    const x = Math.min(Math.max(this.gutter, Math.max(a.x, b.x) + 8), this.width - wide - 14);
    const y = Math.min(Math.max(24, Math.min(a.y, b.y)), this.height - 40);
    context.fillStyle = colours.accent;
    context.fillRect(x, y - 16, wide + 12, 24);
    context.fillStyle = colours.onAccent;
    context.fillText(words, x + 6, y);
  }
}
