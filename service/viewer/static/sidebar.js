/** Findings, annotations and signal quality as tables: for reading, for clicking, for screen readers. */

import { openPage } from "./api.js";
import { element } from "./dom.js";
import { colourOf } from "./style.js";
import { clock, length } from "./time.js";
import { describeAnswer } from "./tracks.js";

const $ = (id) => document.getElementById(id);
const TABS = ["findings", "review", "evidence", "annotations", "quality"];

export class Sidebar {
  constructor(state, style, select, filter) {
    Object.assign(this, { state, style, select, filter, rows: new Map() });
    const buttons = TABS.map((name) => $(`tab-${name}`));
    buttons.forEach((button, i) => {
      button.addEventListener("click", () => this.open(TABS[i]));
      button.addEventListener("keydown", (event) => {
        const by = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
        if (!by) return;
        event.stopPropagation();
        buttons[(i + by + buttons.length) % buttons.length].focus();
        this.open(TABS[(i + by + TABS.length) % TABS.length]);
      });
    });
  }

  open(name) {
    for (const one of TABS) {
      $(one).hidden = one !== name;
      $(`tab-${one}`).setAttribute("aria-selected", String(one === name));
      $(`tab-${one}`).tabIndex = one === name ? 0 : -1;
    }
    this.state.touch();
  }

  clear() {
    for (const one of TABS) $(one).replaceChildren();
    this.rows.clear();
  }

  list() {
    this.rows.clear();
    const { events, answers } = this.state;
    this.here = element("div", { class: "now" });
    $("findings").replaceChildren(this.here, answers ? this.least() : "", this.table("finding", events, answers
      ? "The model has no finding of this confidence here."
      : this.state.answersNote || "No answers yet: press Analyse."), answers ? this.report() : "");
    $("annotations").replaceChildren(this.table("annotation", events, "The file has no annotations."));
    this.now();
    this.mark();
  }

  table(kind, events, empty) {
    const own = events.filter((event) => event.kind === kind);
    if (!own.length) return element("p", { class: "empty" }, empty);
    const head = kind === "finding" ? ["Time", "Finding", "Length", "Conf."] : ["Time", "Annotation", "Length"];
    const body = element("tbody");
    for (const event of own) {
      const go = element("button", { class: "link", type: "button" }, clock(event.start_s));
      go.addEventListener("click", () => this.select(event));
      const what = element("td");
      if (kind === "finding") {
        const dot = element("i", { class: "dot" });
        dot.style.background = event.colour;
        what.append(dot, event.class);
      } else what.append(event.label);
      const row = element("tr", {}, element("td", {}, go), what,
        element("td", { class: "n" }, event.stop_s > event.start_s ? length(event.stop_s - event.start_s) : "–"));
      if (kind === "finding") row.append(element("td", { class: "n" }, `${(100 * event.confidence).toFixed(0)}%`));
      this.rows.set(event, row);
      body.append(row);
    }
    const words = kind === "finding" ? `${own.length} finding${own.length > 1 ? "s" : ""} to review, by time` : "Annotations of the file";
    return element("table", {}, element("caption", {}, words),
      element("thead", {}, element("tr", {}, ...head.map((one, i) => element("th", { scope: "col", class: i > 1 ? "n" : undefined }, one)))), body);
  }

  /** Which findings are listed: neighbouring answers of one class, from a mean confidence on. */
  least() {
    const { answers, least } = this.state, choose = element("select");
    for (const share of [0, 0.3, 0.5, 0.7, 0.9]) {
      const n = answers.findings.filter((one) => one.confidence >= share).length;
      choose.append(element("option", { value: share }, `${share ? `${100 * share}% or more` : "all"} (${n})`));
    }
    choose.value = String(least);
    choose.addEventListener("change", () => this.filter(Number(choose.value)));
    return element("label", { class: "least" }, "Confidence ", choose);
  }

  report() {
    const host = element("p", { class: "group report" }), name = this.state.name;
    for (const [words, format] of [["Report", "html"], ["Report as PDF", "pdf"]]) {
      const button = element("button", { type: "button" }, words);
      button.addEventListener("click", async () => {
        try {
          await openPage("/api/report", { recording: name, format }, `report.${format}`);
        } catch (error) {
          button.textContent = `${words}: ${error.message}`;
        }
      });
      host.append(button);
    }
    return host;
  }

  mark() {
    for (const [event, row] of this.rows) {
      const is = event === this.state.selected;
      row.setAttribute("aria-current", String(is));
      if (is) row.scrollIntoView({ block: "nearest" });
    }
  }

  words(second) {
    return this.state.answers ? describeAnswer(this.state.answers, second) : "";
  }

  /** The answer at the middle of the page, with all six probabilities. */
  now() {
    if (!this.here) return;
    const { answers, start, shown } = this.state;
    this.here.hidden = !answers || shown > 120;
    if (this.here.hidden) return;
    const second = start + shown / 2;
    const answer = answers.answers.find((one) => second >= one.start_s && second < one.stop_s);
    const title = element("h3", {}, `Answer at ${clock(second)}`);
    if (!answer) {
      this.here.replaceChildren(title, element("p", {}, this.words(second)));
      return;
    }
    const bars = element("div", { class: "bars" });
    answers.classes.forEach((name, i) => {
      const bar = element("div", { class: "bar0" });
      bar.style.background = colourOf(name);
      bar.style.width = `${Math.max(1, 100 * answer.p[i])}%`;
      bars.append(element("span", {}, name), bar, element("span", { class: "n" }, `${(100 * answer.p[i]).toFixed(0)}%`));
    });
    const set = answer.set && answer.set.length ? `Prediction set: ${answer.set.join(", ")}.` : "";
    this.here.replaceChildren(title, bars, element("p", { class: "recommend" },
      `${answer.abstained ? "The model abstains. " : ""}Uncertainty ${answer.uncertainty.toFixed(2)}. ${set}`),
    element("p", { class: "recommend" }, answer.recommendation[0].toUpperCase() + answer.recommendation.slice(1)));
  }

  describe() {
    const { header, trends } = this.state;
    if (!header) return;
    const facts = [
      ["Length", length(header.duration_s)], ["Sampling rate", `${header.sfreq} Hz`], ["Format", header.reader.toUpperCase()],
      ["Segments", String(header.segments.length)], ["Mains", header.mains_hz ? `${header.mains_hz} Hz found` : "none found"],
    ];
    const table = element("table", {}, element("caption", {}, "Recording"), element("tbody", {}, ...facts.map(([name, value]) =>
      element("tr", {}, element("th", { scope: "row" }, name), element("td", {}, value)))));
    const parts = [table];
    if (header.bad.length) {
      parts.push(element("table", {}, element("caption", {}, "Bad electrodes"), element("tbody", {}, ...header.bad.map((one) =>
        element("tr", {}, element("th", { scope: "row" }, one.electrode), element("td", {}, one.why))))));
    }
    if (trends && trends.electrodes.length) parts.push(this.artifacts(trends));
    for (const part of parts.slice(1)) part.style.marginTop = "14px";
    $("quality").replaceChildren(...parts);
  }

  artifacts(trends) {
    const n = trends.edges_s.length - 1;
    const shares = trends.electrodes.map((name, row) => {
      let sum = 0;
      for (let i = 0; i < n; i++) sum += trends.artifact[row * n + i];
      return [name, sum / (255 * n)];
    }).sort((a, b) => b[1] - a[1]);
    return element("table", {}, element("caption", {}, "Seconds with artifacts, by electrode"), element("tbody", {},
      ...shares.map(([name, share]) => element("tr", {}, element("th", { scope: "row" }, name),
        element("td", { class: "n" }, `${(100 * share).toFixed(1)}%`)))));
  }
}
