/** Seconds as words and numbers, and round steps for axes. */

const pad = (n) => String(n).padStart(2, "0");

/** @param {number} seconds @param {number} [digits] */
export function clock(seconds, digits = 0) {
  const sign = seconds < 0 ? "−" : "";
  const unit = 10 ** digits;
  const all = Math.round(Math.abs(seconds) * unit);
  const whole = Math.floor(all / unit);
  const rest = digits ? "." + String(all % unit).padStart(digits, "0") : "";
  return `${sign}${pad(Math.floor(whole / 3600))}:${pad(Math.floor(whole / 60) % 60)}:${pad(whole % 60)}${rest}`;
}

/** @param {number} seconds */
export function length(seconds) {
  if (seconds < 60) return `${+seconds.toFixed(seconds < 10 ? 1 : 0)} s`;
  if (seconds < 3600) return `${+(seconds / 60).toFixed(1)} min`;
  return `${+(seconds / 3600).toFixed(1)} h`;
}

const STEPS = [0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 21600, 43200, 86400];

/** The smallest round step that gives at most `most` lines over `span` seconds. */
export function roundStep(span, most) {
  return STEPS.find((step) => span / step <= most) ?? STEPS[STEPS.length - 1];
}

/** The stretches without a recording, [from, to]. */
export function gapsOf({ segments, duration }) {
  const gaps = [];
  let before = 0;
  for (const [onset, length] of [...segments, [duration, 0]]) {
    if (onset - before > 1e-3) gaps.push([before, onset]);
    before = Math.max(before, onset + length);
  }
  return gaps;
}

/** Seconds of "1:02:03", "62:03", "90" or "1h 2m"; NaN for what is none. */
export function parseClock(text) {
  const parts = text.trim().split(":");
  if (parts.length > 3 || parts.some((part) => !/^\d+(\.\d+)?$/.test(part))) return NaN;
  return parts.reduce((total, part) => total * 60 + Number(part), 0);
}
