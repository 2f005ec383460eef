/** What a page shows where the server refuses: no permission, or the token that it wants. */

import { setToken } from "./api.js";
import { element, message } from "./dom.js";

/** @param {HTMLElement} host @param {Function} again called with a token in place */
export function refused(host, error, again) {
  if (error.status === 403) {
    message(host, "No permission", `${error.message}. ${error.hint}.`);
    return;
  }
  const input = element("input", { type: "password", autocomplete: "off", "aria-label": "Token" });
  const form = element("form", {}, input, " ", element("button", { class: "primary" }, "Open"));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    setToken(input.value);
    again();
  });
  message(host, "Sign in", `This server needs a token: ${error.message}. Paste yours; it is kept until the tab is closed.`, form);
  input.focus();
}
