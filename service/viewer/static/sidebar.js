/** Findings, annotations and signal quality as tables: for reading, for clicking, for screen readers. */

import { openPage } from "./api.js";
import { $, button, dot, element, link, table } from "./dom.js";
import { colourOf } from "./style.js";
import { clock, length } from "./time.js";
import { describeAnswer } from "./tracks.js";

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
        const to = (i + by + TABS.length) % TABS.length;
        buttons[to].focus();
        this.open(TABS[to]);
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
    const own = events.filter((event) => event.kind === kind), isFinding = kind === "finding";
    if (!own.length) return element("p", { class: "empty" }, empty);
    const rows = own.map((event) => [
      link(clock(event.start_s), () => this.select(event)), isFinding ? [dot(event.colour), event.class] : event.label,
      event.stop_s > event.start_s ? length(event.stop_s - event.start_s) : "–",
      ...(isFinding ? [`${(100 * event.confidence).toFixed(0)}%`] : []),
    ]);
    const words = isFinding ? `${own.length} finding${own.length > 1 ? "s" : ""} to review, by time` : "Annotations of the file";
    const made = table(words, isFinding ? ["Time", "Finding", "Length", "Conf."] : ["Time", "Annotation", "Length"], rows, 2);
    own.forEach((event, i) => this.rows.set(event, made.tBodies[0].rows[i]));
    return made;
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
    const name = this.state.name;
    return element("p", { class: "group report" }, ...[["Report", "html"], ["Report as PDF", "pdf"]].map(([words, format]) => {
      const made = button(words, async () => {
        try {
          await openPage("/api/report", { recording: name, format }, `report.${format}`);
        } catch (error) {
          made.textContent = `${words}: ${error.message}`;
        }
      });
      return made;
    }));
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
    const parts = [table("Recording", null, [
      ["Length", length(header.duration_s)], ["Sampling rate", `${header.sfreq} Hz`], ["Format", header.reader.toUpperCase()],
      ["Segments", String(header.segments.length)], ["Mains", header.mains_hz ? `${header.mains_hz} Hz found` : "none found"],
    ])];
    if (header.bad.length) parts.push(table("Bad electrodes", null, header.bad.map((one) => [one.electrode, one.why])));
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
    return table("Seconds with artifacts, by electrode", null, shares.map(([name, share]) => [name, `${(100 * share).toFixed(1)}%`]), 1);
  }
}
