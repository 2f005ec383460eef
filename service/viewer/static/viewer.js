/** The viewer: what is looked at, how, and what keys, buttons and the server do about it. */

import { getArrays, getJson, postJson, watch } from "./api.js";
import { TraceCache } from "./cache.js";
import { Sidebar } from "./sidebar.js";
import { chosenTheme, CLASSES, colourOf, otherTheme, setTheme, Style } from "./style.js";
import { bindKeys } from "./keys.js";
import { clock, length, parseClock } from "./time.js";
import { $, element, fitted, message, options, plate } from "./dom.js";
import { Traces } from "./traces.js";
import { drawAnswers, Tracks } from "./tracks.js";
import { openRuler, pxPerMm } from "./ruler.js";
import { refused } from "./refused.js";
import { Evidence } from "./evidence.js";
import { Review } from "./review.js";

const SENSITIVITIES = [1, 2, 3, 5, 7, 10, 15, 20, 30, 50, 70, 100];
const PAGES = [1, 2, 5, 10, 15, 20, 30, 60, 120, 300, 600, 1800, 3600, 4 * 3600, 8 * 3600, 24 * 3600];
const DENSITIES = [[-10, 20], [-15, 15], [-5, 25], [0, 30]];
const HOLD_S = 10;
const MOST_TRENDS = 720;

const state = {
  name: "", header: null, duration: 0, sfreq: 256, segments: [], rows: [], bad: new Set(), events: [], marks: [],
  selected: null, start: 0, page: 10, shown: 10, sensitivity: 7, negativeUp: true, pxPerMm: pxPerMm(), montage: "longitudinal",
  l_freq: 0.5, h_freq: 70, notch_hz: 0, showArtifacts: true, artifacts: null, trends: null, trendRange: null, answers: null, least: 0.5,
  hidden: new Set(), densityRange: DENSITIES[0], waitingFor: "", evidence: null, touch: () => redraw(),
};
const style = new Style();
const cache = new TraceCache(() => redraw(), failed);
let traces, tracks, sidebar, review, evidence, frame = 0, ahead = 1;
window.cerebeam = { state, cache, style, figures: { drawMs: [], painted: 0 } };

function redraw() {
  if (frame) return;
  frame = requestAnimationFrame(() => {
    frame = 0;
    if (!traces || !state.header) return;
    state.shown = traces.shown;
    traces.fetch(ahead);
    traces.draw();
    tracks.drawBrush();
    drawRibbon();
    const figures = window.cerebeam.figures;
    figures.drawMs.push(traces.drawMs);
    if (figures.drawMs.length > 5000) figures.drawMs.splice(0, 2500);
    figures.painted += 1;
    figures.isWhole = traces.isWhole;
    figures.start = state.start;
  });
}

function failed(error) {
  if (error.code === "being_made") {
    state.waitingFor = error.message[0].toUpperCase() + error.message.slice(1);
    setTimeout(redraw, 300);
  } else if (error.status === 401 || error.status === 403) {
    refuse(error);
  } else if (error.status !== 0) {
    show("This part cannot be shown", `${error.message}. ${error.hint}`);
  } else {
    setTimeout(redraw, 500);
  }
}

/** A page instead of traces: empty, refused, broken. */
function show(title, words, ...more) {
  message($("state"), title, words, ...more);
}

const refuse = (error) => refused($("state"), error, begin);

async function begin() {
  show("Opening…", "");
  let list;
  try {
    list = await getJson("/api/viewer/recordings");
  } catch (error) {
    if (error.status === 401 || error.status === 403) refuse(error);
    else {
      show("The server cannot be reached", "Trying again every second.");
      setTimeout(begin, 1000);
    }
    return;
  }
  const names = list.recordings.map((one) => one.name);
  options($("recording"), names.map((name) => [name, name]));
  if (!names.length) {
    show("No recordings yet", "This server has no folder of recordings, or it is empty. Start it with --recordings FOLDER; EDF, BDF, BrainVision and thirty other formats are read.");
    return;
  }
  const wanted = new URLSearchParams(location.hash.slice(1));
  await open(names.includes(wanted.get("recording")) ? wanted.get("recording") : names[0], Number(wanted.get("t")) || 0);
}

async function open(name, start = 0) {
  Object.assign(state, { name, header: null, trends: null, answers: null, artifacts: null, events: [], marks: [], selected: null, rows: [], trendRange: null });
  $("recording").value = name;
  show("Opening…", name);
  sidebar.clear();
  let header;
  try {
    header = await getJson("/api/viewer/recording", { recording: name });
  } catch (error) {
    if (state.name !== name) return;
    if (error.status === 401 || error.status === 403) refuse(error);
    else show("This recording cannot be opened", `${error.message}. ${error.hint}`);
    return;
  }
  if (state.name !== name) return;
  Object.assign(state, {
    header, duration: header.duration_s, sfreq: header.sfreq, segments: header.segments,
    bad: new Set(header.bad.map((one) => one.electrode)), start: 0,
  });
  options($("montage"), header.montages.map((one) => [one.name, one.title, !one.rows.length, one.reason]));
  for (const key of ["l_freq", "h_freq", "notch_hz"]) {
    options($(key), header.filters[key].map((hz) => [hz, hz ? `${hz} Hz` : "off"]));
    $(key).value = state[key];
  }
  const there = header.montages.filter((one) => one.rows.length).map((one) => one.name);
  if (!there.length) {
    show("Nothing to draw", "No channel of this recording can be shown.");
    return;
  }
  if (state.page > header.duration_s) setPage(PAGES.find((page) => page >= Math.min(10, header.duration_s)) || 10);
  remarks();
  $("state").hidden = true;
  setMontage(there.includes(state.montage) ? state.montage : there[0]);
  usualSensitivity();
  go(start);
  sidebar.describe();
  tracks.resize();
  loadAnswers();
  loadTrends();
  review.load();
  evidence.load();
}

/** The stretch that a label is for: one that was measured, the finding that was gone to, or the answer in the middle. */
function chosen() {
  const within = (start_s, stop_s, label) => ({
    start_s: Math.max(0, Math.round(start_s * 10) / 10), stop_s: Math.min(state.duration, Math.round(stop_s * 10) / 10), label,
  });
  if (traces.caliper) {
    const [from, to] = [traces.caliper.a.x, traces.caliper.b.x].map((x) => traces.second(x)).sort((a, b) => a - b);
    if (to - from >= 0.5) return within(from, to);
  }
  const middle = state.start + state.shown / 2, one = state.selected;
  if (one && one.kind === "finding" && one.start_s < state.start + state.shown && one.stop_s > state.start) {
    return within(one.start_s, one.stop_s, one.class);
  }
  const answer = state.answers?.answers.find((each) => middle >= each.start_s && middle < each.stop_s);
  if (answer) return within(answer.start_s, answer.stop_s, answer.class);
  const from = Math.floor(middle / 10) * 10;
  return within(from, from + 10);
}

/** 7 µV/mm where traces have room, 10 µV/mm where they are close; what a reader has chosen stays. */
function usualSensitivity() {
  if (state.isChosen) return;
  traces.layout();
  setSensitivity(traces.space / state.pxPerMm >= 6 ? 7 : 10);
}

function remarks() {
  const { header } = state, words = [...header.notes];
  if (header.no_answer) words.push(`No model answers this recording: ${header.no_answer.error}.`);
  if (header.bad.length) words.push(`Bad electrodes: ${header.bad.map((one) => one.electrode).join(", ")} (left out of averages).`);
  $("notes").hidden = !words.length;
  $("notes").textContent = words.join(" ");
}

function setMontage(name) {
  const montage = state.header.montages.find((one) => one.name === name);
  if (!montage || !montage.rows.length) {
    speak(montage ? `${montage.title}: ${montage.reason}` : "");
    return;
  }
  state.montage = name;
  state.rows = montage.rows;
  traces.firstRow = 0;
  traces.caliper = null;
  $("montage").value = name;
  view();
}

/** Montage or filter has changed. */
function view() {
  const { name, montage, l_freq, h_freq, notch_hz } = state;
  state.waitingFor = "";
  cache.use({ recording: name, montage, l_freq, h_freq, notch_hz }, state.sfreq, Math.round(state.duration * state.sfreq));
  redraw();
}

function setPage(seconds) {
  state.page = seconds;
  $("page").value = seconds;
  state.waitingFor = "";
  if (state.header) go(state.start);
}

function setSensitivity(uv, isChosen = false) {
  state.isChosen ||= isChosen;
  state.sensitivity = uv;
  $("sensitivity").value = uv;
  redraw();
}

function go(second, { isQuiet = false } = {}) {
  const most = Math.max(0, state.duration - Math.min(state.page, state.duration));
  const before = state.start;
  state.start = Math.min(Math.max(0, second), most);
  if (state.start !== before) ahead = 1;
  if (document.activeElement !== $("time")) $("time").value = clock(state.start);
  if (traces) traces.caliper = null;
  redraw();
  if (!isQuiet) settled();
}

let settling = 0;
/** After the page has come to rest: artifacts, address, words for who cannot see it. */
function settled() {
  clearTimeout(settling);
  settling = setTimeout(() => {
    history.replaceState(null, "", `#recording=${encodeURIComponent(state.name)}&t=${Math.round(state.start)}`);
    loadArtifacts();
    sidebar.now();
    review.follow();
    speak(pageWords());
    follow();
  }, 120);
}

/** Keep the page inside of the trends that are shown. */
function follow() {
  const range = state.trendRange;
  if (!range || (state.start >= range[0] && state.start < range[1])) return;
  const wide = range[1] - range[0], from = Math.min(Math.max(0, state.start - wide / 2), state.duration - wide);
  setRange([from, from + wide]);
}

function pageWords() {
  const now = state.answers ? `, ${sidebar.words(state.start + Math.min(state.shown, 10) / 2)}` : "";
  const montage = state.header.montages.find((one) => one.name === state.montage);
  return `${clock(state.start)} to ${clock(state.start + state.shown)}, ${montage.title}, ${state.sensitivity} µV/mm${now}`;
}

function speak(words) {
  $("spoken").textContent = words;
  $("traces").setAttribute("aria-label", `EEG traces, ${words}`);
}

async function loadArtifacts() {
  const name = state.name;
  if (!state.trends || state.shown > 600) {
    state.artifacts = null;
    return;
  }
  try {
    const stop_s = Math.min(state.start + state.shown + 1, state.duration);
    const found = await getJson("/api/viewer/artifacts", { recording: name, start_s: state.start, stop_s });
    if (name === state.name) state.artifacts = found.artifacts;
    redraw();
  } catch (error) {
    if (error.status === 401) refuse(error);
  }
}

async function loadTrends() {
  const name = state.name, range = state.trendRange || [0, state.duration];
  try {
    const made = await getArrays("/api/viewer/trends", { recording: name, start_s: range[0], stop_s: range[1], columns: Math.min(MOST_TRENDS, tracks.width) });
    if (name !== state.name || range.join() !== (state.trendRange || [0, state.duration]).join()) return;
    state.trends = made;
    tracks.draw();
    loadArtifacts();
    sidebar.describe();
  } catch (error) {
    if (name !== state.name) return;
    if (error.code === "being_made" || error.status === 0) {
      state.trendsNote = error.status ? `${error.message[0].toUpperCase()}${error.message.slice(1)}` : "";
      setTimeout(() => name === state.name && loadTrends(), 700);
    } else state.trendsNote = `No trends: ${error.message}`;
    tracks.draw();
  }
}

async function loadAnswers() {
  const name = state.name;
  try {
    const found = await getJson("/api/viewer/answers", { recording: name });
    if (name !== state.name) return;
    const { job } = found, isRunning = job && (job.state === "accepted" || job.state === "running");
    state.answers = found.answers.length ? found : null;
    state.answersNote = isRunning
      ? `Being answered: ${job.n_done} of ${job.n_windows || "?"} windows`
      : job && job.state === "failed" ? `Not answered: ${job.error || job.code}` : "No answers yet: press Analyse";
    $("analyse").disabled = Boolean(isRunning || state.header.no_answer);
    $("analyse").textContent = isRunning ? "Analysing…" : state.answers ? "Analyse again" : "Analyse";
    if (isRunning) setTimeout(() => name === state.name && loadAnswers(), 1000);
    setEvents();
  } catch (error) {
    if (error.status === 0) setTimeout(() => name === state.name && loadAnswers(), 1000);
    else state.answersNote = `No answers: ${error.message}`;
  }
  tracks.draw();
}

/** Findings of the model and annotations of the file as marks on the page. */
function setEvents() {
  const certain = (state.answers ? state.answers.findings : []).filter((one) => one.confidence >= state.least);
  const findings = certain.map((one) => ({
    ...one, kind: "finding", label: `${one.class} ${(100 * one.confidence).toFixed(0)}%`, colour: colourOf(one.class),
  }));
  const annotations = state.header.annotations.map((one) => ({
    start_s: one.start_s, stop_s: one.start_s + one.duration_s, kind: "annotation", label: one.text, colour: style.soft,
  }));
  state.marks = findings;
  const reviews = (state.reviews || []).map((one) => ({
    start_s: one.start_s, stop_s: one.stop_s, kind: "review", label: `You: ${one.label}`, colour: colourOf(one.label),
  }));
  state.events = [...findings, ...annotations, ...reviews].sort((a, b) => a.start_s - b.start_s);
  sidebar.list();
  redraw();
}

function select(event) {
  state.selected = event;
  go(Math.max(0, event.start_s - 0.1 * state.page));
  sidebar.mark();
  speak(`${event.label} at ${clock(event.start_s)}`);
}

/** @param {1 | -1} direction */
function step(direction) {
  const marks = state.marks;
  if (!marks.length) {
    speak("There are no findings");
    return;
  }
  const at = state.selected && marks.includes(state.selected) ? state.selected.start_s : state.start + 0.1 * state.page;
  const next = direction > 0
    ? marks.find((one) => one.start_s > at + 0.05)
    : [...marks].reverse().find((one) => one.start_s < at - 0.05);
  if (next) select(next);
  else speak(direction > 0 ? "That was the last finding" : "That was the first finding");
}

async function analyse() {
  $("analyse").disabled = true;
  try {
    await postJson("/jobs/recording", { recording: state.name });
  } catch (error) {
    state.answersNote = `Not accepted: ${error.message}`;
    tracks.draw();
  }
  loadAnswers();
}

function setRange(range) {
  state.trendRange = range && range[1] - range[0] >= 20 && range[1] - range[0] < state.duration ? range : null;
  const [from, to] = tracks.range;
  $("span").textContent = state.trendRange ? `${clock(from)} to ${clock(to)}` : `whole recording, ${length(state.duration)}`;
  for (const button of $("ranges").children) {
    const seconds = Number(button.dataset.seconds);
    button.setAttribute("aria-pressed", String(state.trendRange ? Math.abs(to - from - seconds) < 1 : !seconds));
  }
  tracks.draw();
  loadTrends();
}

function rangeOf(seconds) {
  if (!seconds || seconds >= state.duration) return setRange(null);
  const from = Math.min(Math.max(0, state.start - seconds / 2), state.duration - seconds);
  return setRange([from, from + seconds]);
}

/** The page's own answers, straight below the traces. */
function drawRibbon() {
  const canvas = document.querySelector("canvas.ribbon"), context = fitted(canvas);
  const wide = canvas.clientWidth, high = canvas.clientHeight;
  context.fillStyle = style.paper;
  context.fillRect(0, 0, wide, high);
  context.fillStyle = style.ink;
  context.font = style.font(12);
  context.fillText("Answer", 6, high / 2 + 4);
  context.save();
  context.beginPath();
  context.rect(traces.gutter, 0, wide, high);
  context.clip();
  const { answers } = state;
  if (answers) {
    drawAnswers(context, answers.answers, answers.unanswered, answers.classes, (t) => traces.x(t), 3, high - 6, style);
    context.font = style.font(12);
    for (const one of answers.answers) {
      const a = traces.x(one.start_s), b = traces.x(one.stop_s);
      if (b < traces.gutter || a > wide || b - a < 70) continue;
      const words = one.abstained ? "model abstains" : `${one.class} ${(100 * one.confidence).toFixed(0)}%`;
      plate(context, words, Math.max(a, traces.gutter) + 9, high / 2 + 4, style);
    }
  } else {
    context.fillStyle = style.soft;
    context.fillText(state.answersNote || "", traces.gutter + 10, high / 2 + 4);
  }
  context.restore();
}

function useTheme(name) {
  setTheme(name);
  style.read();
  if (traces) traces.picture = null;
  if (tracks) tracks.draw();
  if (state.header) setEvents();
}

/** Hold a key or a button: a second at first, then steadily. */
function hold(direction) {
  if (holding.direction === direction) return;
  holding.direction = direction;
  go(state.start + direction * (state.page <= 60 ? 1 : state.page / 10));
  const began = performance.now();
  let last = began;
  const run = (now) => {
    if (holding.direction !== direction) return;
    if (now - began > 250) {
      ahead = 3;
      go(state.start + (direction * HOLD_S * (state.page / 10) * (now - last)) / 1000, { isQuiet: true });
      ahead = 3;
    }
    last = now;
    requestAnimationFrame(run);
  };
  requestAnimationFrame(run);
}
const holding = { direction: 0 };

function release() {
  if (!holding.direction) return;
  holding.direction = 0;
  ahead = 1;
  settled();
}

const next = (list, value, by) => list[Math.min(Math.max(0, list.findIndex((one) => one >= value) + by), list.length - 1)];

const actions = {
  hold, release,
  page: (direction) => go(state.start + direction * state.shown),
  home: () => go(0),
  end: () => go(state.duration),
  louder: () => setSensitivity(next(SENSITIVITIES, state.sensitivity, -1), true),
  quieter: () => setSensitivity(next(SENSITIVITIES, state.sensitivity, 1), true),
  longer: () => setPage(next(PAGES, state.page, 1)),
  shorter: () => setPage(next(PAGES, state.page, -1)),
  whole: () => setPage(state.page >= state.duration ? 10 : PAGES.find((page) => page >= state.duration) || 86400 * 4),
  montage: (number) => state.header && setMontage(state.header.montages[number].name),
  finding: step,
  artifacts: () => ((state.showArtifacts = !state.showArtifacts), redraw()),
  polarity: () => ((state.negativeUp = !state.negativeUp), speak(state.negativeUp ? "negative up" : "positive up"), redraw()),
  theme: () => useTheme(otherTheme()),
  keys: () => $("keys").showModal(),
  ruler: () => openRuler($("ruler"), (px) => ((state.pxPerMm = px), redraw())),
  time: () => ($("time").focus(), $("time").select()),
  trends: () => (($("trends").hidden = !$("trends").hidden), tracks.resize()),
  rows: (by) => ((traces.firstRow += by), redraw()),
  caliper: () => {
    traces.caliper = traces.caliper ? null : { a: { x: traces.width / 2 - 60, y: traces.height / 2 }, b: { x: traces.width / 2 + 60, y: traces.height / 2 + 40 } };
    redraw();
  },
  stretch: (dx, dy) => {
    if (!traces.caliper) return;
    traces.caliper.b.x += dx;
    traces.caliper.b.y += dy;
    const { label, seconds, uv, hz } = traces.reading();
    speak(`${label}: ${Math.abs(uv).toFixed(0)} microvolts, ${seconds.toFixed(2)} seconds, ${hz.toFixed(1)} hertz`);
    redraw();
  },
  accept: () => review.accept(),
  review: () => sidebar.open("review"),
  close: () => ((traces.caliper = null), redraw()),
};

function pointers() {
  const over = $("traces").querySelector(".over");
  const at = (event) => {
    const box = over.getBoundingClientRect();
    return { x: event.clientX - box.left, y: event.clientY - box.top };
  };
  let from = null, start = 0;
  over.addEventListener("pointerdown", (event) => {
    over.setPointerCapture(event.pointerId);
    from = at(event);
    start = state.start;
  });
  over.addEventListener("pointermove", (event) => {
    if (!from) return;
    const to = at(event);
    if (event.pointerType === "touch") {
      go(start - ((to.x - from.x) / (traces.width - traces.gutter)) * state.shown, { isQuiet: true });
    } else if (Math.hypot(to.x - from.x, to.y - from.y) > 3) {
      traces.caliper = { a: from, b: to };
      redraw();
    }
  });
  over.addEventListener("pointerup", (event) => {
    const to = at(event);
    if (from && event.pointerType !== "touch" && Math.hypot(to.x - from.x, to.y - from.y) <= 3) traces.caliper = null;
    from = null;
    redraw();
    settled();
  });
  over.addEventListener("wheel", (event) => {
    event.preventDefault();
    if (event.ctrlKey) return event.deltaY > 0 ? actions.longer() : actions.shorter();
    if (event.shiftKey) return actions.rows(Math.sign(event.deltaY));
    return go(state.start + (Math.sign(event.deltaY || event.deltaX) * state.shown) / 10);
  }, { passive: false });
  for (const [id, direction] of [["left", -1], ["right", 1]]) {
    $(id).addEventListener("pointerdown", () => hold(direction));
    for (const end of ["pointerup", "pointerleave", "pointercancel"]) $(id).addEventListener(end, release);
    $(id).addEventListener("keydown", (event) => (event.key === "Enter" || event.key === " ") && hold(direction));
    $(id).addEventListener("keyup", release);
  }
}

function controls() {
  options($("sensitivity"), SENSITIVITIES.map((uv) => [uv, `${uv} µV/mm`]));
  options($("page"), PAGES.map((s) => [s, length(s)]));
  options($("density"), DENSITIES.map(([low, high], i) => [i, `${low} to ${high} dB`]));
  $("sensitivity").value = state.sensitivity;
  $("page").value = state.page;
  $("recording").addEventListener("change", (event) => open(event.target.value));
  $("montage").addEventListener("change", (event) => setMontage(event.target.value));
  $("sensitivity").addEventListener("change", (event) => setSensitivity(Number(event.target.value), true));
  $("page").addEventListener("change", (event) => setPage(Number(event.target.value)));
  for (const key of ["l_freq", "h_freq", "notch_hz"]) {
    $(key).addEventListener("change", (event) => ((state[key] = Number(event.target.value)), view()));
  }
  $("density").addEventListener("change", (event) => ((state.densityRange = DENSITIES[event.target.value]), tracks.draw()));
  $("back").addEventListener("click", () => actions.page(-1));
  $("on").addEventListener("click", () => actions.page(1));
  $("next").addEventListener("click", () => step(1));
  $("previous").addEventListener("click", () => step(-1));
  $("analyse").addEventListener("click", analyse);
  $("theme").addEventListener("click", actions.theme);
  $("help").addEventListener("click", actions.keys);
  $("controls").addEventListener("submit", (event) => event.preventDefault());
  $("time").addEventListener("keydown", (event) => {
    if (event.key !== "Enter") return;
    const second = parseClock($("time").value);
    if (Number.isNaN(second)) speak("Write a time as hours:minutes:seconds");
    else {
      $("traces").focus();
      go(second);
    }
  });
  for (const button of $("ranges").children) button.addEventListener("click", () => rangeOf(Number(button.dataset.seconds)));
  $("legend").prepend(...Object.entries(CLASSES).map(([name, { colour, title, words }]) => {
    const key = element("i");
    key.style.background = colour;
    return element("li", { title }, key, element("b", {}, name), ` ${words}`);
  }));
}

function main() {
  document.documentElement.dataset.theme = chosenTheme();
  style.read();
  controls();
  $("keys-close").addEventListener("click", () => $("keys").close());
  $("keys-ruler").addEventListener("click", () => ($("keys").close(), actions.ruler()));
  tracks = new Tracks($("tracks"), state, style, { time: (t) => go(t - state.page / 2), range: setRange });
  sidebar = new Sidebar(state, style, select, (least) => ((state.least = least), setEvents(), tracks.drawBrush()));
  const goTo = (name, second) => (name === state.name ? go(second - 0.3 * state.page) : open(name, second));
  review = new Review(state, chosen, goTo, speak, () => state.header && setEvents());
  evidence = new Evidence(state, goTo);
  traces = new Traces($("traces"), state, cache, style);
  Object.assign(window.cerebeam, { traces, tracks, actions });
  pointers();
  bindKeys(actions, () => state.header);
  watch((isThere) => {
    $("lost").hidden = isThere;
    if (!isThere) return;
    if (!state.header) begin();
    else redraw(), loadAnswers(), loadTrends();
  });
  begin();
  $("traces").focus({ preventScroll: true });
}

main();
