/** Everything that stands on the time axis below the traces: answers, spectral arrays, aEEG, asymmetry, artifacts. */

import { colourOf } from "./style.js";
import { clock, gapsOf, roundStep } from "./time.js";

const DB_ZERO = 30, DB_STEPS = 4;
/** Perceptually even from dark to light, after viridis (CC0, Smith and van der Walt). */
const MAP = ["#440154", "#472c7a", "#3b518b", "#2c718e", "#21908d", "#27ad81", "#5cc863", "#aadc32", "#fde725"];
const REGIONS = { LL: "Left temporal", RL: "Right temporal", LP: "Left parasag.", RP: "Right parasag." };

export const TRACKS = [
  { name: "answers", title: "Model answers", height: 32 },
  { name: "LL", title: REGIONS.LL, unit: "0–20 Hz", height: 25 },
  { name: "RL", title: REGIONS.RL, unit: "0–20 Hz", height: 25 },
  { name: "LP", title: REGIONS.LP, unit: "0–20 Hz", height: 25 },
  { name: "RP", title: REGIONS.RP, unit: "0–20 Hz", height: 25 },
  { name: "aeeg", title: "aEEG left, right", unit: "0–100 µV", height: 30 },
  { name: "asymmetry", title: "Asymmetry", unit: "", height: 18 },
  { name: "rhythmicity", title: "Rhythmicity", unit: "", height: 18 },
  { name: "artifact", title: "Artifacts", unit: "", height: 24 },
];

/** Draw one stretch of answers: probabilities stacked, pale where uncertain, hatched where the model abstains. */
export function drawAnswers(context, answers, unanswered, classes, x, top, height, style) {
  for (const gap of unanswered) {
    const a = x(gap.start_s), b = x(gap.stop_s);
    context.fillStyle = style.hatching(context, style.hatchColour);
    context.fillRect(a, top, b - a, height);
  }
  for (const answer of answers) {
    const a = x(answer.start_s), b = x(answer.stop_s);
    if (b < 0 || a > context.canvas.width) continue;
    const wide = Math.max(b - a + 0.3, 1);
    let y = top + height;
    context.globalAlpha = 1 - 0.7 * answer.uncertainty;
    for (let i = 0; i < classes.length; i++) {
      const high = answer.p[i] * height;
      context.fillStyle = colourOf(classes[i]);
      context.fillRect(a, y - high, wide, high + 0.2);
      y -= high;
    }
    context.globalAlpha = 1;
    if (answer.abstained) {
      context.fillStyle = style.hatching(context, style.ink);
      context.fillRect(a, top, wide, height);
    }
  }
}

export class Tracks {
  constructor(host, state, style, pick) {
    Object.assign(this, { host, state, style, pick });
    this.canvas = host.querySelector("canvas.tracks");
    this.over = host.querySelector("canvas.brush");
    this.tips = host.querySelector(".tip");
    this.colours = MAP.map((css) => [1, 3, 5].map((i) => parseInt(css.slice(i, i + 2), 16)));
    new ResizeObserver(() => this.resize()).observe(host);
    this.resize();
    this.listen();
  }

  resize() {
    const ratio = window.devicePixelRatio || 1;
    this.ratio = ratio;
    this.width = Math.max(1, Math.round(this.host.clientWidth));
    this.gutter = this.width < 600 ? 58 : 84;
    this.tracks = TRACKS.filter((track) => !this.state.hidden.has(track.name));
    this.height = this.tracks.reduce((sum, track) => sum + track.height + 3, 22);
    for (const canvas of [this.canvas, this.over]) {
      canvas.width = Math.round(this.width * ratio);
      canvas.height = Math.round(this.height * ratio);
      canvas.style.height = `${this.height}px`;
    }
    this.draw();
  }

  get range() {
    return this.state.trendRange || [0, Math.max(this.state.duration, 1)];
  }

  x = (second) => {
    const [from, to] = this.range;
    return this.gutter + ((second - from) / (to - from)) * (this.width - this.gutter);
  };

  second(x) {
    const [from, to] = this.range;
    return from + ((x - this.gutter) / (this.width - this.gutter)) * (to - from);
  }

  context(canvas) {
    const context = canvas.getContext("2d");
    context.setTransform(this.ratio, 0, 0, this.ratio, 0, 0);
    return context;
  }

  draw() {
    const context = this.context(this.canvas), style = this.style;
    context.fillStyle = style.paper;
    context.fillRect(0, 0, this.width, this.height);
    let top = 2;
    const gaps = gapsOf(this.state);
    for (const track of this.tracks) {
      context.save();
      context.beginPath();
      context.rect(this.gutter, top, this.width - this.gutter, track.height);
      context.clip();
      this.drawTrack(context, track, top);
      if (track.name !== "answers") this.drawGaps(context, gaps, top, track.height);
      context.restore();
      this.label(context, track, top);
      top += track.height + 3;
    }
    this.axis(context);
    this.drawBrush();
  }

  drawGaps(context, gaps, top, height) {
    context.fillStyle = this.style.hatching(context, this.style.hatchColour);
    for (const [from, to] of gaps) context.fillRect(this.x(from), top, this.x(to) - this.x(from), height);
  }

  label(context, track, top) {
    const style = this.style, narrow = this.width < 600;
    context.fillStyle = style.ink;
    context.font = style.font(narrow ? 10 : 11.5);
    const words = narrow ? track.title.split(" ") : [track.title];
    const lines = narrow ? words.slice(0, 2) : wrap(context, track.title, this.gutter - 8);
    lines.forEach((line, i) => context.fillText(line, 4, top + 11 + 12 * i));
    if (track.unit && !narrow && lines.length * 12 + 12 <= track.height) {
      context.fillStyle = style.soft;
      context.font = style.font(10.5);
      context.fillText(track.unit, 4, top + 11 + 12 * lines.length);
    }
  }

  drawTrack(context, track, top) {
    const { trends, answers } = this.state, style = this.style;
    context.fillStyle = style.panel;
    context.fillRect(this.gutter, top, this.width - this.gutter, track.height);
    if (track.name === "answers") {
      if (answers && answers.answers.length) {
        drawAnswers(context, answers.answers, answers.unanswered, answers.classes, this.x, top, track.height, style);
      } else {
        this.words(context, this.state.answersNote || "No answers yet: press Analyse", top, track.height);
      }
      return;
    }
    if (!trends) {
      this.words(context, track.name === "LL" ? this.state.trendsNote || "Trends are being made…" : "", top, track.height);
      return;
    }
    if (track.name in REGIONS) this.density(context, trends, Object.keys(REGIONS).indexOf(track.name), top, track.height);
    else this[track.name](context, trends, top, track.height);
  }

  words(context, words, top, height) {
    context.fillStyle = this.style.soft;
    context.font = this.style.font(12.5);
    context.fillText(words, this.gutter + 10, top + height / 2 + 4);
  }

  /** A picture of n columns, put into its place; `colour(i, row)` gives [r, g, b, a]. */
  picture(context, trends, rows, top, height, colour) {
    const n = trends.edges_s.length - 1, image = new ImageData(n, rows);
    for (let row = 0; row < rows; row++) {
      for (let i = 0; i < n; i++) image.data.set(colour(i, row), 4 * (row * n + i));
    }
    const small = document.createElement("canvas");
    small.width = n;
    small.height = rows;
    small.getContext("2d").putImageData(image, 0, 0);
    context.imageSmoothingEnabled = false;
    const a = this.x(trends.edges_s[0]), b = this.x(trends.edges_s[n]);
    context.drawImage(small, a, top, b - a, height);
  }

  density(context, trends, region, top, height) {
    const n = trends.edges_s.length - 1, freqs = trends.freqs.length, colours = this.colours;
    const [low, high] = this.state.densityRange;
    this.picture(context, trends, freqs, top, height, (i, row) => {
      const value = trends.density[(region * freqs + freqs - 1 - row) * n + i];
      if (value === 0) return [0, 0, 0, 0];
      const db = (value - 1) / DB_STEPS - DB_ZERO;
      const at = Math.max(0, Math.min(0.9999, (db - low) / (high - low))) * (colours.length - 1);
      const k = Math.floor(at), share = at - k;
      return [0, 1, 2].map((c) => colours[k][c] + (colours[k + 1][c] - colours[k][c]) * share).concat(255);
    });
  }

  aeeg(context, trends, top, height) {
    const n = trends.edges_s.length - 1;
    const y = (uv) => top + height - height * (uv <= 10 ? uv / 20 : 0.5 + 0.5 * Math.min(1, Math.log10(uv / 10)));
    context.strokeStyle = this.style.grid;
    context.strokeRect(this.gutter, y(10), this.width, 0);
    [this.style.left, this.style.right].forEach((colour, side) => {
      context.fillStyle = colour;
      context.globalAlpha = 0.55;
      for (let i = 0; i < n; i++) {
        const low = trends.aeeg[2 * side * n + i], high = trends.aeeg[(2 * side + 1) * n + i];
        if (Number.isNaN(low)) continue;
        const a = this.x(trends.edges_s[i]), b = this.x(trends.edges_s[i + 1]);
        context.fillRect(a, y(high), Math.max(b - a, 0.7), Math.max(1, y(low) - y(high)));
      }
      context.globalAlpha = 1;
    });
  }

  asymmetry(context, trends, top, height) {
    const n = trends.edges_s.length - 1, middle = top + height / 2;
    for (let i = 0; i < n; i++) {
      const value = trends.asymmetry[i];
      if (Number.isNaN(value)) continue;
      const a = this.x(trends.edges_s[i]), b = this.x(trends.edges_s[i + 1]), high = Math.abs(value) * (height / 2);
      context.fillStyle = value < 0 ? this.style.left : this.style.right;
      context.fillRect(a, value < 0 ? middle - high : middle, Math.max(b - a, 0.7), high);
    }
    context.fillStyle = this.style.grid;
    context.fillRect(this.gutter, middle, this.width, 1);
  }

  rhythmicity(context, trends, top, height) {
    const n = trends.edges_s.length - 1;
    for (let region = 0; region < 4; region++) {
      context.strokeStyle = region % 2 ? this.style.right : this.style.left;
      context.globalAlpha = 0.8;
      context.beginPath();
      let isOpen = false;
      for (let i = 0; i < n; i++) {
        const value = trends.rhythmicity[region * n + i];
        const x = (this.x(trends.edges_s[i]) + this.x(trends.edges_s[i + 1])) / 2;
        if (Number.isNaN(value)) isOpen = false;
        else if (isOpen) context.lineTo(x, top + height - value * height);
        else context.moveTo(x, top + height - value * height), (isOpen = true);
      }
      context.stroke();
      context.globalAlpha = 1;
    }
  }

  artifact(context, trends, top, height) {
    const n = trends.edges_s.length - 1, rows = trends.electrodes.length || 1;
    const ink = [1, 3, 5].map((i) => parseInt(this.style.ink.slice(i, i + 2), 16));
    this.picture(context, trends, rows, top, height, (i, row) => [...ink, trends.artifact[row * n + i]]);
  }

  axis(context) {
    const [from, to] = this.range, step = roundStep(to - from, Math.max(3, (this.width - this.gutter) / 110));
    context.fillStyle = this.style.soft;
    context.font = this.style.font(12);
    for (let t = Math.ceil(from / step) * step; t <= to; t += step) {
      const x = this.x(t);
      if (x > this.width - 50) break;
      context.fillRect(x, this.height - 20, 1, 5);
      context.fillText(clock(t), x + 3, this.height - 6);
    }
  }

  /** Where the page is, and a stretch that is being chosen. */
  drawBrush() {
    const context = this.context(this.over), style = this.style;
    context.clearRect(0, 0, this.width, this.height);
    if (!this.state.duration) return;
    const a = Math.max(this.gutter, this.x(this.state.start)), b = this.x(this.state.start + this.state.shown);
    if (b > this.gutter && a < this.width) {
      context.fillStyle = style.accent + "26";
      context.fillRect(a, 0, Math.max(b - a, 2), this.height - 20);
      context.strokeStyle = style.accent;
      context.lineWidth = 1.5;
      context.strokeRect(a, 1, Math.max(b - a, 2), this.height - 22);
    }
    for (const event of this.state.marks) {
      const x = this.x(event.start_s);
      if (x < this.gutter || x > this.width) continue;
      context.fillStyle = event.colour;
      context.beginPath();
      context.moveTo(x - 4, this.height - 21);
      context.lineTo(x + 4, this.height - 21);
      context.lineTo(x, this.height - 15);
      context.fill();
    }
    if (this.drag && Math.abs(this.drag.to - this.drag.from) > 4) {
      const from = Math.min(this.drag.from, this.drag.to), to = Math.max(this.drag.from, this.drag.to);
      context.fillStyle = style.ink + "22";
      context.fillRect(from, 0, to - from, this.height - 20);
    }
  }

  listen() {
    const at = (event) => event.clientX - this.over.getBoundingClientRect().left;
    this.over.addEventListener("pointerdown", (event) => {
      if (at(event) < this.gutter) return;
      this.over.setPointerCapture(event.pointerId);
      this.drag = { from: at(event), to: at(event) };
    });
    this.over.addEventListener("pointermove", (event) => {
      this.tip(event, at(event));
      if (!this.drag) return;
      this.drag.to = Math.max(this.gutter, at(event));
      this.drawBrush();
    });
    this.over.addEventListener("pointerup", () => {
      if (!this.drag) return;
      const { from, to } = this.drag;
      this.drag = null;
      if (Math.abs(to - from) <= 4) this.pick.time(this.second(to));
      else this.pick.range([this.second(Math.min(from, to)), this.second(Math.max(from, to))]);
    });
    this.over.addEventListener("dblclick", () => this.pick.range(null));
    this.over.addEventListener("pointerleave", () => (this.tips.hidden = true));
  }

  tip(event, x) {
    const y = event.clientY - this.over.getBoundingClientRect().top, second = this.second(x);
    let top = 2;
    const track = this.tracks.find((one) => y < (top += one.height + 4));
    const words = track && x >= this.gutter ? this.describe(track, second) : "";
    this.tips.hidden = !words;
    if (!words) return;
    this.tips.textContent = words;
    this.tips.style.left = `${Math.min(x + 14, this.width - this.tips.offsetWidth - 4)}px`;
    this.tips.style.top = `${Math.max(0, y - 34)}px`;
  }

  /** What a track shows at a time, in words. */
  describe(track, second) {
    const { answers, trends } = this.state, when = clock(second);
    if (track.name === "answers") return answers ? `${when} ${describeAnswer(answers, second)}` : "";
    if (!trends) return "";
    const n = trends.edges_s.length - 1;
    let i = 0;
    while (i < n - 1 && trends.edges_s[i + 1] <= second) i++;
    const value = (name, row) => trends[name][row * n + i];
    if (track.name === "aeeg") {
      return `${when} aEEG left ${value("aeeg", 0).toFixed(0)}–${value("aeeg", 1).toFixed(0)} µV, right ${value("aeeg", 2).toFixed(0)}–${value("aeeg", 3).toFixed(0)} µV`;
    }
    if (track.name === "asymmetry") {
      const share = trends.asymmetry[i];
      return `${when} ${Math.abs(share) < 0.05 ? "symmetric" : `${share < 0 ? "left" : "right"} larger by ${(100 * Math.abs(share)).toFixed(0)}%`}`;
    }
    if (track.name === "rhythmicity") return `${when} rhythmicity, largest of four regions: ${Math.max(...[0, 1, 2, 3].map((r) => value("rhythmicity", r))).toFixed(2)}`;
    if (track.name === "artifact") {
      const with_ = trends.electrodes.filter((_, row) => value("artifact", row) > 127);
      return `${when} ${with_.length ? `artifacts at ${with_.join(", ")}` : "no artifacts"}`;
    }
    return `${when} ${track.title}: 10 log10 µV²/Hz, 0–20 Hz upwards`;
  }
}

/** What the model answers at a time, or why it does not. */
export function describeAnswer(answers, second) {
  const why = { edge: "at the edge of the recording", gap: "a gap in the recording", rejected: "the signal is lost or of poor quality" };
  const gap = answers.unanswered.find((one) => second >= one.start_s && second < one.stop_s);
  if (gap) return `no answer here: ${why[gap.reason]}`;
  const answer = answers.answers.find((one) => second >= one.start_s && second < one.stop_s);
  if (!answer) return "no answer here";
  const shares = answers.classes.map((name, i) => [name, answer.p[i]]).sort((a, b) => b[1] - a[1]).slice(0, 3)
    .map(([name, p]) => `${name} ${(100 * p).toFixed(0)}%`).join(", ");
  const set = answer.set && answer.set.length ? `; prediction set ${answer.set.join(", ")}` : "";
  return `${answer.abstained ? "model abstains: " : ""}${shares}; uncertainty ${answer.uncertainty.toFixed(2)}${set}`;
}

function wrap(context, words, wide) {
  const lines = [""];
  for (const word of words.split(" ")) {
    const last = lines[lines.length - 1], longer = last ? `${last} ${word}` : word;
    if (!last || context.measureText(longer).width <= wide) lines[lines.length - 1] = longer;
    else lines.push(word);
  }
  return lines;
}

