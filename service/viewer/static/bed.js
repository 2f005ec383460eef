/** One bed: its stream, its answers of the last hour, its alarms. */

import { alarmList, bedName, pauseControls, time } from "./alarms.js";
import { $, element, fitted, message, refill } from "./dom.js";
import { Feed } from "./feed.js";
import { Frame } from "./frame.js";
import { facts, headline, mix, status } from "./outcome.js";
import { Strip } from "./strip.js";
import { clock } from "./time.js";
import { drawAnswers } from "./tracks.js";

const name = new URLSearchParams(location.hash.slice(1)).get("bed") || "";
const state = { name, stream: null, outcomes: [], alarms: [], bed: null };
const SHOWN_S = 3600, LISTED = 8;

function open() {
  state.feed = new Feed(() => `/live/${encodeURIComponent(name)}?${state.outcomes.length ? `after=${state.outcomes.at(-1).seq}` : "last=720"}`, {
    frame: take, samples: (first, values) => {
      strip.push(first, values);
      strip.draw();
      $("stream-time").textContent = `${clock(strip.next / strip.sfreq)} of the stream`;
    },
  });
}

function take(one) {
  if (one.type === "stream") {
    if (state.stream && state.stream.stream !== one.stream) state.outcomes = [];
    state.stream = one;
    strip.begin(one);
    $("late").textContent = `An answer speaks of the middle of its window: it comes ${one.latency_floor_s} s after the seconds it is about, at the earliest.`;
  } else if (one.type === "answer") {
    if (state.outcomes.length && state.outcomes.at(-1).stream_id !== one.stream_id) state.outcomes = [];
    state.outcomes.push(one);
    if (state.outcomes.length > 720) state.outcomes.shift();
    requestAnimationFrame(answers);
  } else if (one.type === "alarms") {
    state.alarms = one.alarms;
    history_();
  }
}

/** The last hour as a ribbon, the newest as rows. */
function answers() {
  const canvas = $("ribbon-hour"), { outcomes } = state;
  $("none-yet").hidden = Boolean(outcomes.length);
  $("newest").hidden = !outcomes.length;
  if (!outcomes.length) return;
  const newest = outcomes.at(-1), to = newest.stop_s, from = Math.max(0, Math.min(to - SHOWN_S, to - 600));
  const context = fitted(canvas), wide = canvas.clientWidth;
  context.clearRect(0, 0, wide, canvas.clientHeight);
  const classes = Object.keys(outcomes.findLast((one) => one.answer)?.answer.class_probabilities || {});
  const [a, b] = state.stream?.label_span_s || [20, 30];
  const rows = outcomes.filter((one) => one.answer).map((one) => ({
    start_s: one.start_s + a, stop_s: one.start_s + b, p: classes.map((label) => one.answer.class_probabilities[label]),
    uncertainty: one.answer.uncertainty.total / Math.log(classes.length), abstained: one.abstained,
  }));
  const none = outcomes.filter((one) => !one.answer).map((one) => ({ start_s: one.start_s + a, stop_s: one.start_s + b }));
  drawAnswers(context, rows, none, classes, (t) => ((t - from) / (to - from)) * wide, 2, canvas.clientHeight - 4, frame.style);
  document.querySelector("#newest tbody").replaceChildren(...outcomes.slice(-LISTED).reverse().map((one) => element("tr", {},
    ...[`${clock(one.start_s + a)}–${clock(one.start_s + b)}`, headline(one), mix(one), time(one.answered_at)].map((what) => element("td", {}, what)))));
}

function history_() {
  const flags = new Map(state.all?.map((alarm) => [alarm.id, alarm]) || []), all = state.alarms.map((alarm) => ({ ...alarm, ...flags.get(alarm.id) }));
  refill(document.querySelector("#history .list"), all, () => alarmList(all, frame.failed, { isHistory: true }));
}

function fill(found) {
  state.all = found.alarms.filter((alarm) => alarm.bed === name);
  state.bed = found.beds.find((bed) => bed.bed === name) || null;
  $("state").hidden = Boolean(state.bed || state.outcomes.length || state.alarms.length);
  if (!state.bed) {
    const isThere = state.outcomes.length || state.alarms.length;
    if (!isThere) message($("state"), "Nothing comes from this bed", "No stream of it is open, and none has ended within the hour.");
    return;
  }
  const [is, words] = status(state.bed);
  $("is").className = `is ${is}`;
  $("is").textContent = words;
  $("facts").replaceChildren(facts(state.bed));
  refill($("pauses"), [state.bed.pause], () => pauseControls(state.bed, frame.failed));
  history_();
}

$("bed-title").textContent = name ? bedName(name) : "No bed";
document.title = `${bedName(name)} – Cerebeam`;
const frame = new Frame(fill, open);
const strip = new Strip($("strip"), frame.style, { gutter: 62 });
$("size").addEventListener("change", (event) => ((strip.uvPerRow = Number(event.target.value)), strip.draw()));
window.addEventListener("hashchange", () => location.reload());
window.addEventListener("resize", answers);
window.cerebeam = { state, strip, frame };
answers();
if (name) open();
