/** The keyboard: everything that the pointer can do. */

import { element } from "./dom.js";

const LIST = [
  ["← →", "1 s back or on; hold to scroll"], ["Page Up, Page Down", "a page back or on"],
  ["Home, End", "beginning, end"], ["g", "go to a time"],
  ["↑ ↓", "sensitivity"], ["+ −", "shorter or longer page"],
  ["0", "whole recording"], ["1 – 5", "montage"],
  ["n, p", "next, previous finding"], ["a", "accept the finding"], ["r", "review"], ["b", "artifacts on, off"],
  ["c", "caliper on, off"], ["Alt + arrows", "stretch the caliper"],
  ["Shift + ↑ ↓", "other channels, where there are many"], ["d", "trends on, off"], ["i", "negative up, positive up"],
  ["m", "calibrate with a ruler"], ["t", "light, dark"], ["?", "this list"], ["Esc", "close"],
];

export const KEYS = {
  fill(dialog, ruler) {
    const list = element("dl", { class: "keys" });
    for (const [keys, words] of LIST) list.append(element("dt", {}, element("kbd", {}, keys)), element("dd", {}, words));
    const close = element("button", { class: "primary" }, "Close"), calibrate = element("button", {}, "Calibrate with a ruler");
    close.addEventListener("click", () => dialog.close());
    calibrate.addEventListener("click", () => (dialog.close(), ruler()));
    dialog.replaceChildren(element("h2", { id: "keys-title" }, "Keys"), list,
      element("p", { class: "soft" }, "Drag over the traces to measure. Drag over the trends to look closer, double-click for all of it. Swipe to scroll on a phone."),
      element("p", { class: "group" }, close, calibrate));
  },
};

const isTyping = (target) => target.closest("input, textarea, select, dialog[open]");

export function bindKeys(actions, isReady) {
  const plain = {
    PageUp: () => actions.page(-1), PageDown: () => actions.page(1), Home: actions.home, End: actions.end,
    ArrowUp: actions.louder, ArrowDown: actions.quieter, "+": actions.shorter, "=": actions.shorter, "-": actions.longer,
    0: actions.whole, n: () => actions.finding(1), p: () => actions.finding(-1), b: actions.artifacts, c: actions.caliper,
    i: actions.polarity, m: actions.ruler, t: actions.theme, a: actions.accept, r: actions.review, d: actions.trends, "?": actions.keys, g: actions.time, Escape: actions.close,
    ...Object.fromEntries([1, 2, 3, 4, 5].map((number) => [number, () => actions.montage(number - 1)])),
  };
  const arrows = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  document.addEventListener("keydown", (event) => {
    if (isTyping(event.target) || event.ctrlKey || event.metaKey || !isReady()) return;
    const arrow = arrows[event.key];
    if (arrow && event.altKey) actions.stretch(4 * arrow[0], 4 * arrow[1]);
    else if (arrow && event.shiftKey && arrow[1]) actions.rows(4 * arrow[1]);
    else if (arrow && event.shiftKey) actions.page(arrow[0]);
    else if (arrow && arrow[0]) actions.hold(arrow[0]);
    else if (plain[event.key] && !event.altKey) plain[event.key]();
    else return;
    event.preventDefault();
  });
  document.addEventListener("keyup", (event) => arrows[event.key]?.[0] && actions.release());
  window.addEventListener("blur", actions.release);
}
