/** How many pixels of this screen are a millimetre: a ruler is held against a bar once, and the answer is kept. */

import { button, element } from "./dom.js";

const KEY = "cerebeam-px-per-mm", USUAL = 96 / 25.4, LONG_MM = 100;

export const pxPerMm = () => {
  const stored = Number(localStorage.getItem(KEY));
  return stored > 1 && stored < 30 ? stored : USUAL;
};

export function openRuler(dialog, changed) {
  const bar = element("div", { class: "measure" });
  const slider = element("input", { type: "range", min: 1.5, max: 12, step: 0.01, "aria-label": "Length of the bar" });
  const words = element("p", { class: "soft" });
  const show = () => {
    bar.style.width = `${LONG_MM * slider.value}px`;
    words.textContent = `${Number(slider.value).toFixed(2)} pixels per mm`;
    slider.style.width = "100%";
  };
  slider.value = pxPerMm();
  slider.addEventListener("input", show);
  const keep = button("Keep", () => {
    localStorage.setItem(KEY, slider.value);
    changed(Number(slider.value));
    dialog.close();
  }, { class: "primary" });
  const usual = button("As delivered", () => ((slider.value = USUAL), show()));
  dialog.replaceChildren(element("h2", { id: "ruler-title" }, "Calibrate with a ruler"),
    element("p", {}, `Move the slider until the bar is ${LONG_MM} mm long on your screen. Sensitivity in µV/mm is then true.`),
    bar, slider, words, element("p", { class: "group" }, keep, usual));
  show();
  dialog.showModal();
}
