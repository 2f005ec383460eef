/** Stored explanations: cells of channel and time over the traces, with the method and whether its gates passed. */

import { getJson } from "./api.js";
import { element } from "./dom.js";
import { clock } from "./time.js";

const host = document.getElementById("evidence");

export class Evidence {
  constructor(state, select) {
    Object.assign(this, { state, select, shown: null });
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
    this.list = list;
    this.shown = list[0] || null;
    if (!list.length) return host.replaceChildren(element("p", { class: "empty" }, words));
    this.about = element("div", { class: "now" });
    const rows = list.map((one) => {
      const go = element("button", { class: "link", type: "button" }, clock(one.start_s));
      go.addEventListener("click", () => ((this.shown = one), this.describe(), this.select(one.start_s)));
      return element("tr", {}, ...[go, one.class, one.method].map((what) => element("td", {}, what)));
    });
    host.replaceChildren(this.about, element("table", {}, element("caption", {}, "Explained windows"), element("tbody", {}, ...rows)));
    this.describe();
    this.state.touch();
  }

  describe() {
    const { shown } = this, top = (pairs) => pairs.slice(0, 4).map(([name, share]) => `${name} ${(100 * share).toFixed(0)}%`).join(", ");
    const lines = [["Channels", shown.channels], ["Regions", shown.regions], ["Bands", shown.bands]].filter(([, pairs]) => pairs.length);
    this.about.replaceChildren(element("h3", {}, `What speaks for ${shown.class}, by ${shown.method}`),
      element("p", { class: shown.status.startsWith("not") ? "wrong" : "" }, shown.status + (shown.missed ? `; misses ${shown.missed}` : "")),
      ...lines.map(([words, pairs]) => element("p", {}, `${words}: ${top(pairs)}`)));
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
