/** Elements from names, attributes and text. Text is never markup: nothing from a file can become a tag. */

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

export function message(host, title, words, ...more) {
  host.replaceChildren(element("h2", {}, title), element("p", {}, words), ...more);
  host.hidden = false;
}
