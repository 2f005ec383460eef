/** A hop's outcome as elements: the six probabilities as one bar, the class in words, or why there is no answer. */

import { element } from "./dom.js";
import { colourOf } from "./style.js";

export function headline({ answer, abstained, reason }) {
  if (!answer) return `No answer: ${reason.replaceAll("_", " ")}`;
  return abstained ? "The model abstains" : `${answer.predicted_class} ${(100 * answer.confidence).toFixed(0)}%`;
}

export const describe = (outcome) => outcome.answer
  ? Object.entries(outcome.answer.class_probabilities).map(([name, p]) => `${name} ${(100 * p).toFixed(0)}%`).join(", ")
  : headline(outcome);

export function mix(outcome) {
  const is = outcome.abstained || !outcome.answer ? "mix hatched" : "mix";
  const host = element("div", { class: is, role: "img", "aria-label": describe(outcome) });
  for (const [name, p] of Object.entries(outcome.answer?.class_probabilities || {})) {
    const part = element("i", { title: `${name} ${(100 * p).toFixed(0)}%` });
    part.style.background = colourOf(name);
    part.style.flexGrow = String(p);
    host.append(part);
  }
  return host;
}

export const share = (value) => (value === null ? "–" : `${(100 * value).toFixed(0)}%`);

/** Facts of a bed: burden of the last hour, electrodes that measure anything. */
export function facts(bed) {
  const { quality } = bed, is = quality && quality.n_good < quality.fewest_good ? "poor" : "";
  const electrodes = quality ? `${quality.n_good} of ${quality.n_chans} electrodes` : "–";
  const bad = quality && quality.bad.length ? element("span", { class: "soft" }, ` without ${quality.bad.slice(0, 6).join(", ")}${quality.bad.length > 6 ? ", …" : ""}`) : "";
  const meter = element("meter", { min: 0, max: 1, value: bed.burden_hour ?? 0, "aria-label": `Burden of the last hour, bed ${bed.bed}` });
  return element("dl", { class: "facts" },
    element("dt", {}, "Burden, 1 h"), element("dd", {}, meter, ` ${share(bed.burden_hour)}`,
      element("span", { class: "soft" }, ` of ${share(bed.answered_hour)} answered`)),
    element("dt", {}, "Signal"), element("dd", { class: is }, electrodes, bad));
}

export function status(bed) {
  if (bed.ended_at !== null) return ["ended", "ended"];
  if (!bed.is_connected) return ["away", "no source"];
  return bed.quality.silent_s > 3 ? ["away", `no samples for ${bed.quality.silent_s.toFixed(0)} s`] : ["on", "live"];
}
