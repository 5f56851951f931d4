// @ts-check
/** The log's end: new lines are appended, the oldest leave, and the view follows unless it is held. */

import { byId, make, setText, show } from "./dom.js";
import { count } from "./format.js";
import { LogLines, matches } from "./loglines.js";

/** @typedef {import("./loglines.js").LogLine} LogLine */

/** Lines in the document. */
const MOST = 1_000;

/** Nearer than this to the end, px, the reader is at the end. */
const NEAR = 24;

export class Log {
  #place = byId("log");
  #note = byId("log-note");
  /** @type {HTMLInputElement} */
  #filter = byId("log-filter");
  /** @type {HTMLInputElement} */
  #follow = byId("log-follow");
  #kept = new LogLines(MOST);

  constructor() {
    this.#filter.addEventListener("input", () => this.#show());
    this.#follow.addEventListener("change", () => this.#toEnd());
    this.#place.addEventListener("scroll", () => this.#scrolled(), { passive: true });
  }

  /** @param {readonly string[]} end the last lines, oldest first */
  take(end) {
    const fresh = this.#kept.take(end);
    if (fresh.length === 0) return;
    this.#place.append(...fresh.filter((line) => matches(line, this.#wanted)).map(row));
    while (this.#place.childElementCount > MOST) this.#place.firstElementChild?.remove();
    this.#tell();
    this.#toEnd();
  }

  get #wanted() {
    return this.#filter.value.trim().toLowerCase();
  }

  #show() {
    const wanted = this.#wanted;
    this.#place.replaceChildren(...this.#kept.lines.filter((line) => matches(line, wanted)).map(row));
    this.#tell();
    this.#toEnd();
  }

  #tell() {
    const [shown, kept] = [this.#place.childElementCount, this.#kept.lines.length];
    show(this.#place, shown > 0);
    if (kept === 0) setText(this.#note, "No lines yet.");
    else if (shown === kept) setText(this.#note, `The last ${count(kept, "line")}.`);
    else setText(this.#note, `${count(shown, "line")} of the last ${kept}.`);
  }

  #toEnd() {
    if (this.#follow.checked) this.#place.scrollTop = this.#place.scrollHeight;
  }

  /** Scrolling back holds the view; scrolling to the end lets it follow again. */
  #scrolled() {
    const { scrollTop, scrollHeight, clientHeight } = this.#place;
    this.#follow.checked = scrollHeight - scrollTop - clientHeight < NEAR;
  }
}

/** @param {LogLine} line */
function row({ time, source, level, text }) {
  const parts = [make("span", { class: "text" }, text)];
  if (time) parts.unshift(make("span", { class: "when" }, time), make("span", { class: "from" }, `${source} ${level}`));
  return make("div", { class: `line ${level}` }, ...parts.flatMap((part) => [part, " "]));
}
