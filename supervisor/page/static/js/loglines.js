// @ts-check
/** Joins the ends of a log, asked for again and again, into one list of lines. Pure. */

/**
 * @typedef {object} LogLine
 * @property {number} id rises by one a line; none is given twice
 * @property {string} time as HH:MM:SS of the reader's clock; empty where the line has none
 * @property {string} source
 * @property {string} level
 * @property {string} text
 */

const LINE = /^(\d{4}-\d\d-\d\dT\S+Z) (\S+) (debug|info|warning|error|critical) (.*)$/s;

const CLOCK = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });

export class LogLines {
  /** Oldest first. @type {LogLine[]} */
  lines = [];
  #most;
  #ids = 0;
  /** The end that was seen last. @type {readonly string[]} */
  #last = [];

  /** @param {number} most lines kept */
  constructor(most) {
    this.#most = most;
  }

  /**
   * Take the log's end; returns the lines that are new.
   * @param {readonly string[]} end oldest first
   * @returns {LogLine[]}
   */
  take(end) {
    const fresh = end.slice(overlap(this.#last, end)).map((line) => this.#read(line));
    this.#last = end;
    this.lines = [...this.lines, ...fresh].slice(-this.#most);
    return fresh;
  }

  /**
   * @param {string} line
   * @returns {LogLine}
   */
  #read(line) {
    this.#ids += 1;
    const [, time, source, level, text] = LINE.exec(line) ?? [];
    if (time === undefined) return { id: this.#ids, time: "", source: "", level: "", text: line };
    return { id: this.#ids, time: CLOCK.format(Date.parse(time)), source: source ?? "", level: level ?? "", text: text ?? "" };
  }
}

/**
 * How many lines at the beginning of `now` are the last ones of `before`.
 * @param {readonly string[]} before
 * @param {readonly string[]} now
 */
function overlap(before, now) {
  for (let skipped = Math.max(0, before.length - now.length); skipped < before.length; skipped++) {
    const length = before.length - skipped;
    let same = 0;
    while (same < length && before[skipped + same] === now[same]) same++;
    if (same === length) return length;
  }
  return 0;
}

/**
 * @param {LogLine} line
 * @param {string} wanted in lower case; empty: any line
 */
export function matches(line, wanted) {
  return wanted === "" || `${line.source} ${line.level} ${line.text}`.toLowerCase().includes(wanted);
}
