// @ts-check
/** Server-sent events from pieces of text. Pure: no network, no clock. */

/** Longest event that is taken: the supervisor's own lines are bounded far below. */
const MAX_CHARACTERS = 1_000_000;

/**
 * @typedef {object} Message
 * @property {string} id last id that was given
 * @property {string} event
 * @property {string} data
 */

/** Takes pieces of any size; a line may end in CR, LF or both, and be cut anywhere. */
export class EventParser {
  #rest = "";
  #id = "";
  #event = "";
  /** @type {string[]} */
  #data = [];
  #size = 0;

  /**
   * Take the next piece; returns the messages that it completes.
   * @param {string} piece
   * @returns {Message[]}
   * @throws {RangeError} when an event is too long to be one of ours
   */
  push(piece) {
    const text = this.#rest + piece;
    // A CR at the end may be half of a line's end: it waits for what comes after it.
    const lines = text.split(/\r\n|\n|\r(?!$)/);
    this.#rest = lines.pop() ?? "";
    /** @type {Message[]} */
    const messages = [];
    for (const line of lines) this.#take(line, messages);
    if (this.#rest.length + this.#size > MAX_CHARACTERS) throw new RangeError("an event is too long");
    return messages;
  }

  /**
   * @param {string} line
   * @param {Message[]} messages
   */
  #take(line, messages) {
    if (line === "") {
      if (this.#data.length > 0) {
        messages.push({ id: this.#id, event: this.#event || "message", data: this.#data.join("\n") });
      }
      this.#event = "";
      this.#data = [];
      this.#size = 0;
      return;
    }
    const [, field = "", value = ""] = /^([^:]*):? ?(.*)$/s.exec(line) ?? [];
    if (field === "data") {
      this.#data.push(value);
      this.#size += value.length;
    } else if (field === "event") this.#event = value;
    else if (field === "id") this.#id = value;
  }
}
