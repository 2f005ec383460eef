/** Colours and type for canvases, read from the style sheet, so that both themes have one source. */

import { abgr } from "./extremes.js";

export const CLASSES = {
  Seizure: { colour: "#d55e00", words: "electrographic", title: "Electrographic seizure" },
  LPD: { colour: "#e69f00", words: "lateralized", title: "Lateralized periodic discharges" },
  GPD: { colour: "#cc79a7", words: "generalized periodic discharges", title: "Generalized periodic discharges" },
  LRDA: { colour: "#0072b2", words: "lateralized", title: "Lateralized rhythmic delta activity" },
  GRDA: { colour: "#56b4e9", words: "generalized rhythmic delta activity", title: "Generalized rhythmic delta activity" },
  Other: { colour: "#9aa5ad", words: "none of these", title: "None of these five patterns" },
};

export const colourOf = (name) => (CLASSES[name] || { colour: "#7a8790" }).colour;

const THEME = "cerebeam-theme";

/** The theme that was chosen here, or the system's. */
export const chosenTheme = () =>
  localStorage.getItem(THEME) || (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");

export function setTheme(name) {
  document.documentElement.dataset.theme = name;
  localStorage.setItem(THEME, name);
}

export const otherTheme = () => (document.documentElement.dataset.theme === "dark" ? "light" : "dark");

export class Style {
  constructor() {
    this.read();
  }

  read() {
    const sheet = getComputedStyle(document.documentElement);
    const of = (name) => sheet.getPropertyValue(name).trim();
    for (const name of ["paper", "ink", "soft", "grid", "grid-fine", "accent", "on-accent", "artifact", "rule", "panel",
      "left", "right", "midline", "other", "hatch"]) {
      this[name.replace(/-(\w)/g, (_, c) => c.toUpperCase())] = of(`--${name}`);
    }
    this.hatchColour = this.hatch;
    this.hatch = (context) => this.hatching(context, this.hatchColour);
    this.sides = { left: this.left, right: this.right, midline: this.midline, other: this.other };
    this.packed = Object.fromEntries(Object.entries(this.sides).map(([side, css]) => [side, abgr(css)]));
    this.face = of("--face");
    this.patterns = new Map();
  }

  font(size) {
    return `${size}px ${this.face}`;
  }

  side(row) {
    return this.sides[row.side] || this.sides.other;
  }

  trace(row) {
    return this.packed[row.side] ?? this.packed.other;
  }

  /** Diagonal lines, for what is not there. */
  hatching(context, colour) {
    if (!this.patterns.has(colour)) {
      const tile = document.createElement("canvas");
      tile.width = tile.height = 8;
      const inside = tile.getContext("2d");
      inside.strokeStyle = colour;
      inside.lineWidth = 1.5;
      inside.beginPath();
      for (const d of [-8, 0, 8]) {
        inside.moveTo(d - 1, 9);
        inside.lineTo(d + 9, -1);
      }
      inside.stroke();
      this.patterns.set(colour, context.createPattern(tile, "repeat"));
    }
    return this.patterns.get(colour);
  }
}
