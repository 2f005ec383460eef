/** The wall: all beds at a glance, their alarms, and when they were raised. */

import { alarmList, badge, bedLink, bedName, ORDER, pauseControls, sorted, time, wordsOf } from "./alarms.js";
import { $, element, message, refill } from "./dom.js";
import { Feed } from "./feed.js";
import { Frame } from "./frame.js";
import { facts, headline, mix, status } from "./outcome.js";
import { Strip } from "./strip.js";
import { clock } from "./time.js";

const cards = new Map();
let found = { beds: [], alarms: [], at: 0 };

class Card {
  constructor(bed, frame) {
    this.canvas = element("canvas", { class: "small", role: "img", "aria-label": `Newest ten seconds, bed ${bed.bed}` });
    [this.top, this.answer, this.facts, this.pauses] = ["top", "answer", "of", "held"].map((name) => element("div", { class: name }));
    this.host = element("article", { class: "card", "aria-label": bedName(bed.bed) }, this.top, this.canvas, this.answer, this.facts, this.pauses);
    this.strip = new Strip(this.canvas, frame.style, { isShort: true });
    this.frame = frame;
    this.seq = 0;
    this.feed = new Feed(() => `/live/${encodeURIComponent(bed.bed)}?after=${this.seq}`, {
      frame: (one) => one.type === "stream" && this.strip.begin(one),
      samples: (first, values) => (this.strip.push(first, values), this.strip.draw()),
    });
  }

  fill(bed, alarms) {
    const own = sorted(alarms.filter((alarm) => alarm.bed === bed.bed && alarm.is_listed)), [is, words] = status(bed);
    this.seq = bed.newest ? bed.newest.seq : this.seq;
    this.host.dataset.severity = own.length && own[0].cleared_at === null ? own[0].severity : "";
    this.top.replaceChildren(element("h3", {}, element("a", { href: bedLink(bed.bed) }, bedName(bed.bed))),
      element("span", { class: `is ${is}` }, words), ...own.slice(0, 2).map(badge));
    this.answer.replaceChildren(...(bed.newest ? [element("b", {}, headline(bed.newest)),
      element("span", { class: "soft" }, ` window to ${clock(bed.newest.stop_s)}, answered ${time(bed.newest.answered_at)}`), mix(bed.newest)]
      : [element("span", { class: "soft" }, "No answer yet: the first comes after 55 s of signal.")]));
    this.facts.replaceChildren(facts(bed));
    refill(this.pauses, [bed.pause], () => pauseControls(bed, this.frame.failed));
  }

  close() {
    this.feed.close();
    this.host.remove();
  }
}

function fill(frame) {
  const names = new Set(found.beds.map((bed) => bed.bed)), open = found.alarms.filter((alarm) => alarm.is_listed);
  for (const [name, card] of cards) if (!names.has(name)) (card.close(), cards.delete(name));
  for (const bed of found.beds) {
    if (!cards.has(bed.bed)) {
      cards.set(bed.bed, new Card(bed, frame));
      $("beds").append(cards.get(bed.bed).host);
    }
    cards.get(bed.bed).fill(bed, found.alarms);
  }
  refill(document.querySelector("#alarms .list"), open, () => alarmList(open, frame.failed));
  $("alarms-title").textContent = open.length ? `Open alarms (${open.length})` : "Open alarms";
  if (!names.size) message($("state"), "No live beds", "Nothing is being recorded. Send a recording as if it were live: cerebeam live --replay FILE --speed 20 --bed A");
  $("state").hidden = Boolean(names.size);
  lanes();
}

/** A lane per bed; the worst severity lies on top, and no alarm is narrower than three pixels. */
function lanes() {
  const hours = Number($("hours").value), to = found.at, from = to - 3600 * hours;
  const within = found.alarms.filter((alarm) => (alarm.cleared_at ?? to) >= from);
  const beds = [...new Set([...found.beds.map((bed) => bed.bed), ...within.map((alarm) => alarm.bed)])].sort();
  const place = (at) => 100 * Math.min(1, Math.max(0, (at - from) / (to - from)));
  const rows = beds.map((bed) => {
    const lane = element("div", { class: "lane" });
    const own = within.filter((alarm) => alarm.bed === bed).sort((a, b) => ORDER[a.severity] - ORDER[b.severity]);
    for (const alarm of own) {
      const stop = alarm.cleared_at === null ? "" : ` to ${time(alarm.cleared_at)}`;
      const words = `${alarm.severity}: ${wordsOf(alarm)}, ${time(alarm.raised_at)}${stop}`;
      const part = element("i", { class: `at ${alarm.severity}`, title: words, role: "img", "aria-label": words });
      part.style.left = `${place(alarm.raised_at)}%`;
      part.style.width = `${place(alarm.cleared_at ?? to) - place(alarm.raised_at)}%`;
      lane.append(part);
    }
    return element("div", { class: "lane-row" }, element("span", {}, bedName(bed)), lane);
  });
  const axis = element("div", {}, ...[from, (from + to) / 2, to].map((at) => element("span", {}, time(at))));
  document.querySelector(".lanes").replaceChildren(...rows, element("div", { class: "lane-row axis" }, element("span"), axis));
}

const frame = new Frame((one) => ((found = one), fill(frame)), () => cards.forEach((card, name) => (card.close(), cards.delete(name))));
$("hours").addEventListener("change", lanes);
window.cerebeam = { cards, frame, found: () => found };
