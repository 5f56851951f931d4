// @ts-check
/** What needs a person's eye: a line that is lost, an open breaker, a start that failed, a token that is wanted. */

import { byId, make, setText } from "./dom.js";
import { moment, span } from "./format.js";

/** @typedef {import("./model.js").Model} Model */
/** @typedef {import("./link.js").Link} Link */

/**
 * @typedef {object} Notice
 * @property {string} key a notice with the same key is the same one, redrawn
 * @property {"alert" | "warn" | "info"} tone
 * @property {string} title
 * @property {string} text
 * @property {string} [code]
 * @property {string} [hint]
 * @property {readonly string[]} [lines]
 * @property {string} [action] what its button says
 */

/**
 * @typedef {object} Orders what the notices' buttons do
 * @property {() => void} tryLine
 * @property {() => void} askToken
 * @property {() => void} retry
 * @property {() => void} reload
 */

/** @typedef {{ root: HTMLElement, title: HTMLElement, text: HTMLElement, more: HTMLElement }} Parts */

export class Notices {
  #place = byId("notices");
  /** @type {Map<string, Parts>} */
  #shown = new Map();
  #orders;

  /** @param {Orders} orders */
  constructor(orders) {
    this.#orders = orders;
  }

  /**
   * @param {Model} model
   * @param {Link} link
   */
  draw(model, link) {
    const notices = current(model, link, Date.now());
    const keys = new Set(notices.map(({ key }) => key));
    for (const [key, { root }] of this.#shown) {
      if (keys.has(key)) continue;
      root.remove();
      this.#shown.delete(key);
    }
    for (const notice of notices) this.#draw(notice);
  }

  /** @param {Notice} notice */
  #draw(notice) {
    const parts = this.#shown.get(notice.key) ?? this.#make(notice);
    setText(parts.title, notice.title);
    setText(parts.text, notice.text);
  }

  /** @param {Notice} notice */
  #make(notice) {
    const title = make("h2", {});
    const text = make("p", {});
    const more = make("div", {});
    const root = make("section", { class: `notice ${notice.tone}`, "aria-label": "Notice" }, title, text, more);
    if (notice.hint) more.append(make("p", { class: "hint" }, notice.hint));
    if (notice.lines?.length) {
      const summary = make("summary", {}, "The sidecar’s last words");
      more.append(make("details", {}, summary, make("pre", { tabindex: "0" }, notice.lines.join("\n"))));
    }
    if (notice.code) more.append(make("p", { class: "quiet" }, make("code", {}, notice.code)));
    if (notice.action) more.append(this.#button(notice));
    const parts = { root, title, text, more };
    this.#shown.set(notice.key, parts);
    this.#place.append(root);
    return parts;
  }

  /** @param {Notice} notice */
  #button(notice) {
    const button = make("button", { type: "button" }, notice.action ?? "");
    const { tryLine, askToken, retry, reload } = this.#orders;
    const does = { lost: tryLine, locked: askToken, outdated: reload }[notice.key] ?? retry;
    button.addEventListener("click", does);
    return button;
  }
}

/**
 * @param {Model} model
 * @param {Link} link
 * @param {number} now
 * @returns {Notice[]}
 */
export function current(model, link, now) {
  const notices = [lineNotice(model, link, now), failureNotice(model, now), outdatedNotice(model)];
  return notices.filter((notice) => notice !== null);
}

/**
 * @param {Model} model
 * @param {Link} link
 * @param {number} now
 * @returns {Notice | null}
 */
function lineNotice(model, link, now) {
  if (link.phase === "locked") {
    const title = "This supervisor answers nothing but its health without its token";
    const text = link.problem?.message.startsWith("Wanted") || !link.problem ? "It was started with --require-token. Paste the token to see the rest." : link.problem.message;
    return { key: "locked", tone: "warn", title, text, action: "Paste the token…" };
  }
  if (link.phase !== "lost") return null;
  const seconds = link.retryAt === null ? 0 : Math.ceil((link.retryAt - now) / 1000);
  const again = seconds > 0 ? `Trying again in ${span(seconds)}.` : "Trying again now.";
  const isStopped = model.state === "stopped";
  const title = isStopped ? "The supervisor has stopped" : "The supervisor does not answer";
  const why = isStopped ? sentence(model.reason) : "";
  const text = `${why} Nothing has been heard since ${moment(link.since, now)}; what stands below is from before. ${again}`;
  return { key: "lost", tone: isStopped ? "warn" : "alert", title, text: text.trim(), action: "Try now" };
}

/**
 * @param {Model} model
 * @param {number} now
 * @returns {Notice | null}
 */
function failureNotice(model, now) {
  const error = model.history.error;
  if (error === null) return null;
  const lines = error["details"]?.last_lines ?? [];
  const base = { text: String(error["message"]), code: String(error["code"]), hint: String(error["hint"] ?? ""), lines };
  const key = `failure ${error["time"]}`;
  if (model.state === "stopped") {
    return { ...base, key, tone: "alert", title: "The start failed" };
  }
  const seconds = model.nextTryAt === null ? 0 : Math.ceil((model.nextTryAt - now) / 1000);
  const next = seconds > 0 ? `The next try is in ${span(seconds)}.` : "It is being tried again now.";
  const title = "The sidecar keeps failing, so it is left alone for a while";
  return { ...base, key, tone: "alert", title: `${title}. ${next}`, action: "Try now" };
}

/**
 * @param {Model} model
 * @returns {Notice | null}
 */
function outdatedNotice(model) {
  if (!model.isOutdated) return null;
  const text = `This page is of release ${model.version}; the supervisor is now ${model.status?.["version"]}.`;
  return { key: "outdated", tone: "info", title: "The supervisor was updated", text, action: "Reload the page" };
}

/** @param {string} text */
function sentence(text) {
  if (text === "") return "";
  const first = text.charAt(0).toUpperCase() + text.slice(1);
  return /[.!?]$/.test(first) ? first : `${first}.`;
}
