/** The keyboard: everything that the pointer can do. */

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
