/** Alarms and their pauses as elements: severity, words, acknowledgement, what is held back and until when, sound. */

import { postJson } from "./api.js";
import { button, element } from "./dom.js";
import { length } from "./time.js";

export const ORDER = { high: 3, medium: 2, low: 1 };
const PAUSES = [
  ["audio_paused", "Audio paused", 120, "Pause audio"], ["alarm_paused", "Alarm paused", 120, "Pause alarm"],
  ["audio_off", "Audio off", 8 * 3600, "Audio off"],
];
const WORDS = Object.fromEntries(PAUSES.map(([kind, words]) => [kind, words]));

export const time = (seconds) => new Date(1000 * seconds).toTimeString().slice(0, 8);

export const wordsOf = (alarm) => (alarm.kind === "physiological" ? `${alarm.condition} burden` : alarm.condition);

/** What is still there first, then the worst, then the newest. */
export const sorted = (alarms) => [...alarms].sort((a, b) =>
  Number(b.cleared_at === null) - Number(a.cleared_at === null) || ORDER[b.severity] - ORDER[a.severity] || b.raised_at - a.raised_at);

export function badge(alarm) {
  const over = alarm.cleared_at !== null ? " over" : "", flashes = alarm.flashes ? " flashes" : "";
  return element("span", { class: `badge ${alarm.severity}${over}${flashes}` }, `${"!".repeat(ORDER[alarm.severity])} ${alarm.severity}`);
}

function acknowledgement(alarm, failed) {
  if (alarm.acknowledged_at !== null) {
    return element("span", { class: "soft" }, `seen by ${alarm.acknowledged_by}, ${time(alarm.acknowledged_at)}`);
  }
  const made = button("Acknowledge", () => {
    made.disabled = true;
    postJson(`/alarms/${alarm.id}/acknowledge`, {}).catch((error) => ((made.disabled = false), failed(error)));
  }, { "aria-label": `Acknowledge ${wordsOf(alarm)}, bed ${alarm.bed}` });
  return made;
}

export const bedName = (bed) => (/^bed\b/i.test(bed) ? bed : `Bed ${bed}`);

export const bedLink = (bed) => `/app/bed#bed=${encodeURIComponent(bed)}`;

export function alarmList(alarms, failed, { isHistory = false } = {}) {
  if (!alarms.length) return element("p", { class: "empty" }, isHistory ? "No alarm so far." : "No alarm is open.");
  return element("ul", { class: "alarms" }, ...sorted(alarms).map((alarm) => {
    const over = alarm.cleared_at === null ? "" : `, cleared ${time(alarm.cleared_at)}`;
    const bed = isHistory ? "" : element("a", { href: bedLink(alarm.bed) }, bedName(alarm.bed));
    return element("li", {}, badge(alarm), bed, element("span", { class: "what" }, wordsOf(alarm)),
      element("span", { class: "soft" }, `since ${time(alarm.raised_at)}${over}`), acknowledgement(alarm, failed));
  }));
}

/** What is held back at a bed, until when, by whom; or the buttons that do it. */
export function pauseControls(bed, failed) {
  const post = (words, label, path, body) => button(words, () => postJson(`/beds/${encodeURIComponent(bed.bed)}/${path}`, body).catch(failed),
    { title: label, "aria-label": `${label}, bed ${bed.bed}` });
  if (!bed.pause) {
    return element("div", { class: "pauses" }, ...PAUSES.map(([kind, , seconds, words]) =>
      post(words, `${words} for ${length(seconds)}; it ends by itself`, "pauses", { kind, seconds })));
  }
  return element("div", { class: "pauses" }, element("span", { class: "paused" }, `${WORDS[bed.pause.kind]} until ${time(bed.pause.until_at)}`),
    element("span", { class: "soft" }, `by ${bed.pause.begun_by}`), post("Signal again", "Signal alarms again", "pauses/end", {}));
}

/** Tones of the worst alarm that sounds: three, two, one. A browser wants a press of the button first. */
export class Sound {
  constructor(button) {
    Object.assign(this, { severity: "", isOn: false });
    button.addEventListener("click", () => {
      this.context ||= new AudioContext();
      this.isOn = !this.isOn;
      button.setAttribute("aria-pressed", String(this.isOn));
      button.textContent = this.isOn ? "Sound on" : "Sound off";
    });
    setInterval(() => this.play(), 3000);
  }

  take(alarms) {
    this.severity = sorted(alarms.filter((alarm) => alarm.sounds))[0]?.severity || "";
  }

  play() {
    if (!this.isOn || !this.severity) return;
    for (let i = 0; i < ORDER[this.severity]; i++) {
      const tone = this.context.createOscillator(), size = this.context.createGain(), at = this.context.currentTime + 0.25 * i;
      tone.frequency.value = 660;
      size.gain.value = 0.2;
      tone.connect(size).connect(this.context.destination);
      tone.start(at);
      tone.stop(at + 0.2);
    }
  }
}
