/** Stored explanations, as cells over the traces and as a map of the scalp, with method and gates; similar segments. */

import { getJson } from "./api.js";
import { $, button, element, link, table } from "./dom.js";
import { clock } from "./time.js";

const host = $("evidence");
const none = (words) => element("p", { class: "empty" }, words);

export class Evidence {
  /** @param {Function} go to a second of a recording, in the middle of the page */
  constructor(state, go) {
    Object.assign(this, { state, go, shown: null, about: element("div", { class: "now" }), near: element("div") });
    state.evidence = (context, traces) => !host.hidden && this.shown && this.draw(context, traces);
  }

  async load() {
    const { name } = this.state;
    let list = [], words = "No evidence is stored for this recording. cerebeam explain makes it.";
    try {
      list = (await getJson("/api/viewer/evidence", { recording: name })).explanations;
    } catch (error) {
      words = `No evidence: ${error.message}`;
    }
    if (name === this.state.name) this.fill(list, words);
  }

  fill(list, words) {
    this.shown = list[0] || null;
    this.near.replaceChildren();
    const rows = list.map((one) => [
      link(clock(one.start_s), () => ((this.shown = one), this.describe(), this.go(this.state.name, one.start_s + 20))), one.class, one.method,
    ]);
    host.replaceChildren(...(rows.length ? [this.about, table("Explained windows", ["Time", "Class", "Method"], rows)] : [none(words)]),
      element("p", { class: "report" }, button("Similar segments", () => this.similar())), this.near);
    if (rows.length) this.describe();
    this.state.touch();
  }

  describe() {
    const { shown } = this, top = (pairs) => pairs.slice(0, 4).map(([name, share]) => `${name} ${(100 * share).toFixed(0)}%`).join(", ");
    const lines = [["Channels", shown.channels], ["Regions", shown.regions], ["Bands", shown.bands]].filter(([, pairs]) => pairs.length)
      .map(([words, pairs]) => `${words}: ${top(pairs)}`);
    this.about.replaceChildren(element("h3", {}, `What speaks for ${shown.class}, by ${shown.method}`),
      element("p", { class: shown.status.startsWith("not") ? "wrong" : "" }, shown.status + (shown.missed ? `; misses ${shown.missed}` : "")),
      ...lines.map((words) => element("p", {}, words)));
    if (shown.scalp) this.about.append(element("img", { class: "scalp", alt: `Map of the scalp. ${lines[0]}`, src: `data:image/svg+xml,${encodeURIComponent(shown.scalp)}` }));
  }

  /** What resembles the answer in the middle of the page, in all recordings of the same model. */
  async similar() {
    const { name, start, shown } = this.state, second = start + shown / 2;
    this.near.replaceChildren(none("Looking…"));
    let list = [], words = `No stored answer to compare with at ${clock(second)}: analyse the recording.`;
    try {
      list = (await getJson("/api/viewer/similar", { recording: name, second })).similar;
    } catch (error) {
      words = `Not found: ${error.message}`;
    }
    if (name !== this.state.name) return;
    const rows = list.map((one) => [
      link(clock(one.start_s), () => this.go(one.recording, one.start_s)), one.recording, one.predicted_class,
      Object.entries(one.labels).map(([label, n]) => `${n} ${label}`).join(", ") || "–", one.distance.toFixed(2),
    ]);
    this.near.replaceChildren(rows.length
      ? table(`Similar to ${clock(second)}; 0 is the same, 1 usual`, ["Time", "Recording", "Model", "Labels", "Distance"], rows, 4) : none(words));
  }

  draw(context, traces) {
    const { start_s, step_s, n_steps, values, ch_names } = this.shown;
    context.fillStyle = "#e6007e";
    for (const { row, y } of traces.places) {
      const own = row.electrodes.map((name) => values[ch_names.indexOf(name)]).filter(Boolean);
      for (let i = 0; own.length && i < n_steps; i++) {
        const value = Math.max(...own.map((one) => one[i])), a = Math.max(traces.gutter, traces.x(start_s + i * step_s));
        const b = Math.min(traces.width, traces.x(start_s + (i + 1) * step_s));
        if (value < 5 || b <= a) continue;
        context.globalAlpha = 0.006 * value;
        context.fillRect(a, y - traces.space / 2, b - a, traces.space);
      }
    }
    context.globalAlpha = 1;
  }
}
