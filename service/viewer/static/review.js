/** Review: what a reader sees in a stretch, as a label of the six classes; one's own reviews, agreement, what comes next. */

import { getJson, postJson } from "./api.js";
import { $, button, dot, element, link, table } from "./dom.js";
import { CLASSES, colourOf } from "./style.js";
import { clock, length } from "./time.js";

const SURE = [["Certain", 1], ["Probable", 0.75], ["Possible", 0.5]];

export class Review {
  /** @param {() => {start_s: number, stop_s: number, label?: string}} chosen the stretch that is meant */
  constructor(state, chosen, go, speak, changed) {
    Object.assign(this, { state, chosen, go, speak, changed, own: null, confidence: 1 });
  }

  async load() {
    const name = this.state.name;
    try {
      const found = await getJson("/api/viewer/review", { recording: name });
      if (name !== this.state.name) return;
      this.own = found;
      this.queue = found.may ? (await getJson("/api/viewer/queue")).queue : [];
    } catch (error) {
      this.own = { may: false, reviews: [], error: error.message };
    }
    this.state.reviews = this.own.reviews;
    this.draw();
    this.changed();
  }

  draw() {
    const host = $("review"), { own } = this;
    if (!own) return host.replaceChildren();
    if (!own.may) {
      return host.replaceChildren(element("p", { class: "empty" },
        own.error ? `Reviews cannot be shown: ${own.error}` : "You may look, not label: reviewing needs the role reviewer."));
    }
    return host.replaceChildren(this.form(), this.table(), this.agreement(), this.next());
  }

  form() {
    const { start_s, stop_s, label } = this.chosen();
    this.shown = `${start_s}|${stop_s}|${label}`;
    const form = element("div", { class: "now" });
    const sure = element("select", { "aria-label": "How sure" });
    for (const [words, value] of SURE) sure.append(element("option", { value }, words));
    sure.value = String(this.confidence);
    sure.addEventListener("change", () => (this.confidence = Number(sure.value)));
    const buttons = element("div", { class: "labels", role: "group", "aria-label": "Label of this stretch" });
    for (const name of this.own.labels) {
      const give = button(name, () => this.give(name), { title: CLASSES[name]?.title });
      give.prepend(dot(colourOf(name)));
      buttons.append(give);
    }
    form.append(element("h3", {}, `${clock(start_s)} to ${clock(stop_s)}, ${length(stop_s - start_s)}`), buttons, sure);
    if (label) form.append(" ", button(`Accept ${label} (a)`, () => this.accept(), { class: "primary" }));
    form.append(element("p", { class: "soft" }, "A finding that you go to, or a stretch that you measure, is what you label."));
    return form;
  }

  /** Draw the form again where another stretch is meant now. */
  follow() {
    if (!this.own?.may) return;
    const { start_s, stop_s, label } = this.chosen();
    if (this.shown !== `${start_s}|${stop_s}|${label}`) this.draw();
  }

  accept() {
    const { label } = this.chosen();
    if (this.own?.may && label) this.give(label);
  }

  async give(label) {
    const { start_s, stop_s } = this.chosen();
    try {
      await postJson(`/studies/${this.own.study_id}/reviews`, { start_s, stop_s, label, confidence: this.confidence });
      this.speak(`Labelled ${clock(start_s)} to ${clock(stop_s)} as ${label}`);
    } catch (error) {
      this.speak(`Not kept: ${error.message}`);
      $("review").prepend(element("p", { role: "alert", class: "wrong" }, `Not kept: ${error.message}. ${error.hint}`));
      return;
    }
    await this.load();
  }

  table() {
    const { reviews } = this.own;
    if (!reviews.length) return element("p", { class: "empty" }, "You have labelled nothing here yet.");
    const undo = async (one) => (await postJson(`/reviews/${one.id}/withdraw`, {}), this.load());
    return table("Your labels", ["Time", "Label", "Length", element("span", { class: "spoken" }, "Withdraw")], reviews.map((one) => [
      link(clock(one.start_s), () => this.go(this.state.name, one.start_s)), [dot(colourOf(one.label)), one.label],
      length(one.stop_s - one.start_s),
      link("withdraw", () => undo(one), { "aria-label": `Withdraw ${one.label} at ${clock(one.start_s)}` }),
    ]), 2);
  }

  agreement() {
    const { agreement } = this.own;
    if (!agreement || agreement.reviewers.length < 2) return "";
    const number = (kappa) => (kappa === null ? "undefined" : kappa.toFixed(2));
    const rows = agreement.pairs.map((one) => [`${one.a}, ${one.b}`, `${number(one.kappa)} on ${one.n_units}`]);
    return table("Agreement: κ on units of 10 s", null, [...rows, ["All (Fleiss)", `${number(agreement.fleiss)} on ${agreement.n_units}`]], 1);
  }

  next() {
    if (!this.queue?.length) return element("p", { class: "empty" }, "Nothing waits for a review: analyse a recording first.");
    return table("Next to review: where a label would teach most", ["Time", "Recording", "Model", "Score"], this.queue.slice(0, 12).map((one) => [
      link(clock(one.start_s), () => this.go(one.recording, one.start_s)), one.recording, one.predicted_class, one.score.toFixed(2),
    ]), 3);
  }
}
