/** What the live pages share: theme, lost connection, refusals, failures, sound. */

import { Sound, wordsOf } from "./alarms.js";
import { watch } from "./api.js";
import { $ } from "./dom.js";
import { Feed } from "./feed.js";
import { refused } from "./refused.js";
import { chosenTheme, otherTheme, setTheme, Style } from "./style.js";

export class Frame {
  /** @param {Function} take gets each state of all beds @param {Function} begin is called again with a token in place */
  constructor(take, begin) {
    Object.assign(this, { take, begin, heard: new Set(), is: { server: true, feed: true } });
    setTheme(chosenTheme());
    this.style = new Style();
    this.sound = new Sound($("sound"));
    $("theme").addEventListener("click", () => (setTheme(otherTheme()), this.style.read()));
    watch((isThere) => this.there("server", isThere));
    this.failed = (error) => {
      $("failed").hidden = false;
      $("failed").textContent = `Not done: ${error.message}. ${error.hint || ""}`;
      setTimeout(() => ($("failed").hidden = true), 8000);
    };
    this.refuse = (error) => {
      document.querySelector("main").classList.add("is-refused");
      refused($("state"), error, () => {
        document.querySelector("main").classList.remove("is-refused");
        $("state").hidden = true;
        this.open();
        begin();
      });
    };
    this.open();
  }

  open() {
    this.feed = new Feed(() => "/wall", {
      frame: (found) => (this.hear(found.alarms), this.take(found)), state: (is) => this.there("feed", is), refused: this.refuse,
    });
  }

  there(which, is) {
    this.is[which] = is;
    $("lost").hidden = this.is.server && this.is.feed;
  }

  /** Read out what is new, and sound it. */
  hear(alarms) {
    this.sound.take(alarms);
    const fresh = alarms.filter((alarm) => alarm.sounds && !this.heard.has(alarm.id + alarm.severity));
    for (const alarm of fresh) this.heard.add(alarm.id + alarm.severity);
    if (fresh.length) $("spoken").textContent = fresh.map((alarm) => `${alarm.severity} alarm, bed ${alarm.bed}, ${wordsOf(alarm)}`).join(". ");
  }
}
