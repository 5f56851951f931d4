// @ts-check
/** States over time as a band, and below it what interrupted the service, the newest first. */

import { byId, make, setText } from "./dom.js";
import { count, moment, span } from "./format.js";
import { stateWord } from "./heading.js";

/** @typedef {import("./model.js").Model} Model */
/** @typedef {import("./history.js").Incident} Incident */

/** The band shows no more than this, and no less than the other. */
const MOST_MS = 3_600_000;
const LEAST_MS = 120_000;

/** @type {Readonly<Record<Incident["kind"], string>>} */
const TITLES = {
  restart: "Restart",
  broken: "Given up for a while",
  instance: "New supervisor",
  error: "Start failed",
};

export class Timeline {
  #summary = byId("timeline-summary");
  #band = byId("band");
  #list = byId("incidents");
  /** @type {Map<number, { item: HTMLElement, signature: string, outcome: HTMLElement }>} */
  #items = new Map();

  /** @param {Model} model */
  draw(model) {
    const now = Date.now();
    const { spans, incidents } = model.history;
    setText(this.#summary, incidents.length === 0 ? "None since this page knows" : count(incidents.length, "interruption"));
    this.#drawBand(spans, now);
    this.#drawIncidents(incidents, now);
  }

  /**
   * @param {readonly import("./history.js").Span[]} spans
   * @param {number} now
   */
  #drawBand(spans, now) {
    const first = Math.max(spans[0]?.from ?? now, now - MOST_MS);
    const from = Math.min(first, now - LEAST_MS);
    const shown = spans.filter(({ to }) => (to ?? now) > from);
    while (this.#band.childElementCount > shown.length) this.#band.lastElementChild?.remove();
    while (this.#band.childElementCount < shown.length) this.#band.append(make("span", {}));
    shown.forEach(({ state, from: begin, to }, index) => {
      const part = /** @type {HTMLElement} */ (this.#band.children[index]);
      const [left, right] = [Math.max(begin, from), to ?? now].map((at) => (100 * (at - from)) / (now - from));
      if (part.dataset["state"] !== state) part.dataset["state"] = state;
      part.style.insetInlineStart = `${left}%`;
      part.style.inlineSize = `${(right ?? 0) - (left ?? 0)}%`;
      part.title = `${stateWord(state)}, from ${moment(begin, now)}`;
    });
    this.#band.dataset["from"] = moment(from, now);
  }

  /**
   * @param {readonly Incident[]} incidents
   * @param {number} now
   */
  #drawIncidents(incidents, now) {
    const ids = new Set(incidents.map(({ id }) => id));
    for (const [id, { item }] of this.#items) {
      if (ids.has(id)) continue;
      item.remove();
      this.#items.delete(id);
    }
    for (const incident of incidents) {
      const signature = `${incident.kind} ${incident.code} ${incident.reason} ${incident.restart} ${incident.launch}`;
      let known = this.#items.get(incident.id);
      if (known?.signature !== signature) {
        const made = { ...entry(incident, now), signature };
        if (known) known.item.replaceWith(made.item);
        else this.#list.prepend(made.item);
        this.#items.set(incident.id, made);
        known = made;
      }
      setText(known.outcome, outcome(incident, now));
    }
  }
}

/**
 * @param {Incident} incident
 * @param {number} now
 */
function entry({ kind, at, code, reason, hint, lines, restart, launch }, now) {
  const title = kind === "restart" && restart !== null ? `Restart ${restart}` : TITLES[kind];
  const outcome = make("span", { class: "quiet numbers" });
  const head = make("p", { class: "incident-head" }, make("time", { datetime: new Date(at).toISOString() }, moment(at, now)), make("strong", {}, title), outcome);
  const item = make("li", { "data-kind": kind }, head);
  const why = make("p", {}, reason || "No reason was told.");
  if (code) why.append(" ", make("code", {}, code));
  if (launch !== null) why.append(" ", make("span", { class: "quiet" }, `launch ${launch}`));
  item.append(why);
  if (hint) item.append(make("p", { class: "hint" }, hint));
  if (lines.length > 0) {
    item.append(make("details", {}, make("summary", {}, "The sidecar’s last words"), make("pre", { tabindex: "0" }, lines.join("\n"))));
  }
  return { item, outcome };
}

/**
 * @param {Incident} incident
 * @param {number} now
 */
function outcome({ at, recoveredAt, isSuperseded }, now) {
  if (recoveredAt !== null) return `ready again after ${span((recoveredAt - at) / 1000)}`;
  if (isSuperseded) return "failed again";
  return `not ready for ${span(Math.floor((now - at) / 1000))}`;
}
