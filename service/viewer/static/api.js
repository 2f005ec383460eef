/** Requests to the server: token, errors in one form, and whether the server is there at all. */

const TOKEN = "cerebeam-token";
let token = sessionStorage.getItem(TOKEN) || "";

/** What the server refuses, or a connection that is lost (status 0). */
export class Refused extends Error {
  constructor(status, body) {
    super(body.error || "the server cannot be reached");
    this.status = status;
    this.code = body.code || "unreachable";
    this.hint = body.hint || "";
    this.retry_s = body.retry_s || 0;
  }
}

export function setToken(text) {
  token = text.trim();
  if (token) sessionStorage.setItem(TOKEN, token);
  else sessionStorage.removeItem(TOKEN);
}

const query = (values) => new URLSearchParams(Object.entries(values).filter(([, v]) => v !== undefined)).toString();

/** @returns {Promise<Response>} */
async function send(path, values, options = {}) {
  const headers = { ...(options.headers || {}) };
  if (token) headers.authorization = `Bearer ${token}`;
  let reply;
  try {
    reply = await fetch(values ? `${path}?${query(values)}` : path, { ...options, headers });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refused(0, {});
  }
  if (reply.ok && reply.status !== 202) return reply;
  if (options.method === "POST" && reply.ok) return reply;
  const body = await reply.json().catch(() => ({ error: `status ${reply.status}` }));
  body.retry_s = Number(reply.headers.get("retry-after")) || 0;
  throw new Refused(reply.status, body);
}

export const getJson = async (path, values, options) => (await send(path, values, options)).json();

/** Open a page of the server in a new tab; where it needs a token, which a link cannot carry, save it instead. */
export async function openPage(path, values, name) {
  if (!token) {
    window.open(`${path}?${query(values)}`, "_blank", "noopener");
    return;
  }
  const link = document.createElement("a");
  link.href = URL.createObjectURL(await (await send(path, values)).blob());
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

export const postJson = async (path, body) =>
  (await send(path, null, {
    method: "POST", body: JSON.stringify(body), headers: { "content-type": "application/json" },
  })).json();

/** Arrays packed by service/viewer/packing.py. */
export async function getArrays(path, values, options) {
  return unpack(await (await send(path, values, options)).arrayBuffer());
}

const TYPES = { int16: Int16Array, uint8: Uint8Array, uint16: Uint16Array, float32: Float32Array };

/** @param {ArrayBuffer} buffer */
export function unpack(buffer) {
  const view = new DataView(buffer);
  if (view.getUint32(0, false) !== 0x43425631) throw new Error("this is no packed array");
  const length = view.getUint32(4, true);
  const fields = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 8, length)));
  for (const [name, { type, shape, offset }] of Object.entries(fields.arrays)) {
    const size = shape.reduce((a, b) => a * b, 1);
    fields[name] = new TYPES[type](buffer, 8 + length + offset, size);
    fields[name + "_shape"] = shape;
  }
  return fields;
}

/** Watch the server: `changed(isThere)` is called when it goes and when it comes back, at most 2 s later. */
export function watch(changed) {
  let isThere = true;
  async function look() {
    let there = false;
    const stop = new AbortController();
    const timer = setTimeout(() => stop.abort(), 900);
    try {
      there = (await fetch("/health", { signal: stop.signal, cache: "no-store" })).ok;
    } catch {
      there = false;
    }
    clearTimeout(timer);
    if (there !== isThere) changed((isThere = there));
    setTimeout(look, there ? 1000 : 500);
  }
  look();
}
