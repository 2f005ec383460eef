/** Elements from names, attributes and text. Text is never markup: nothing from a file can become a tag. */

export const $ = (id) => document.getElementById(id);

export function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) if (value !== undefined) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

/** Fill a select with [value, words, isDisabled, title]. */
export function options(select, list) {
  select.replaceChildren(...list.map(([value, words, isDisabled, title]) => {
    const option = element("option", { value, title }, String(words));
    option.disabled = Boolean(isDisabled);
    return option;
  }));
}

/** Fill a host anew only where `key` has changed: a button that is being pressed stays. */
export function refill(host, key, make) {
  const text = JSON.stringify(key);
  if (host.key !== text) host.replaceChildren(make());
  host.key = text;
}

export function button(words, press, attributes = {}) {
  const made = element("button", { type: "button", ...attributes }, words);
  made.addEventListener("click", press);
  return made;
}

export const link = (words, press, attributes) => button(words, press, { class: "link", ...attributes });

export function dot(colour) {
  const made = element("i", { class: "dot" });
  made.style.background = colour;
  return made;
}

/** A table of rows of cells; without heads the first cell of a row is its head. Columns from `right` on are numbers. */
export function table(caption, heads, rows, right = 9) {
  const cells = (row, name) => row.map((what, i) => element(!heads && !i ? "th" : name,
    { scope: !heads && !i ? "row" : name === "th" ? "col" : undefined, class: i >= right ? "n" : undefined }, ...[what].flat()));
  return element("table", {}, element("caption", {}, caption),
    heads ? element("thead", {}, element("tr", {}, ...cells(heads, "th"))) : "",
    element("tbody", {}, ...rows.map((row) => element("tr", {}, ...cells(row, "td")))));
}

/** A canvas's context in CSS pixels, the canvas as large as it is shown. */
export function fitted(canvas) {
  const ratio = window.devicePixelRatio || 1, wide = Math.round(canvas.clientWidth * ratio), high = Math.round(canvas.clientHeight * ratio);
  if (canvas.width !== wide || canvas.height !== high) Object.assign(canvas, { width: wide, height: high });
  const context = canvas.getContext("2d");
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  return context;
}

/** Words on a plate, so that they can be read over anything. */
export function plate(context, words, x, y, style) {
  context.globalAlpha = 0.88;
  context.fillStyle = style.paper;
  context.fillRect(x - 5, y - 13, context.measureText(words).width + 10, 18);
  context.globalAlpha = 1;
  context.fillStyle = style.ink;
  context.fillText(words, x, y);
}

export function message(host, title, words, ...more) {
  host.replaceChildren(element("h2", {}, title), element("p", {}, words), ...more);
  host.hidden = false;
}
