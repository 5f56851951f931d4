// @ts-check
/** The top of the page: state, model, and the figures of the present. */

import { byId, make, setText } from "./dom.js";
import { count, NONE, span } from "./format.js";
import { stageLabel } from "./startup.js";

/** @typedef {import("./model.js").Model} Model */
/** @typedef {import("./link.js").Link} Link */

/** @type {Readonly<Record<string, string>>} */
const WORDS = {
  ready: "Ready",
  starting: "Starting",
  restarting: "Restarting",
  suspect: "In doubt",
  broken: "Broken",
  idle: "Idle",
  draining: "Draining",
  stopped: "Stopped",
  unknown: "Unknown",
  lost: "No answer",
  connecting: "Connecting",
};

/** States that need no reason here: a notice gives it, or there is none. */
const SELF_EVIDENT = new Set(["lost", "connecting", "ready", "broken"]);

/**
 * What the state is called.
 * @param {string} state
 */
export function stateWord(state) {
  return WORDS[state] ?? state;
}

/**
 * The state as it can be shown: without a line to the supervisor nothing is known of the present.
 * @param {Model} model
 * @param {Link} link
 */
export function shownState(model, link) {
  if (link.phase === "lost" && model.state !== "stopped") return "lost";
  return model.state === "unknown" && link.phase === "connecting" ? "connecting" : model.state;
}

export class Heading {
  #state = byId("state");
  #word = byId("state-word");
  #reason = byId("state-reason");
  #model = byId("model");
  #about = byId("about");
  #facts = new Facts(byId("facts"));

  /**
   * @param {Model} model
   * @param {Link} link
   */
  draw(model, link) {
    const state = shownState(model, link);
    if (this.#state.dataset["state"] !== state) this.#state.dataset["state"] = state;
    setText(this.#word, stateWord(state));
    setText(this.#reason, reason(model, state));
    setText(this.#model, modelText(model));
    const title = `${stateWord(state)} · Embedding sidecar`;
    if (document.title !== title) document.title = title;
    const version = model.status?.["version"];
    if (version) setText(this.#about, `Embedding sidecar ${version}, served from this computer; nothing leaves it.`);
    this.#facts.draw(model, link);
  }
}

/**
 * @param {Model} model
 * @param {string} state
 */
function reason(model, state) {
  if (SELF_EVIDENT.has(state)) return "";
  const stage = model.status?.["stage"] ?? model.health?.["stage"];
  const isUnderWay = state === "starting" || state === "restarting";
  const at = isUnderWay && stage && stage !== "ready" ? `at “${stageLabel(stage)}”` : "";
  return [model.reason, at].filter(Boolean).join(" · ");
}

/** @param {Model} model */
function modelText(model) {
  const known = { ...model.health, ...model.status?.["model"] };
  const name = known.model;
  if (!name) return "No model yet";
  const dim = known.dimensions ?? known.dim;
  const how = [known.engine, known.device, known.precision].filter(Boolean).join(", ");
  return [name, dim && `${dim} dimensions`, how].filter(Boolean).join(" · ");
}

/** Figures with their names. */
class Facts {
  /** @type {Map<string, HTMLElement>} */
  #values = new Map();

  /** @param {HTMLElement} list */
  constructor(list) {
    for (const name of ["Running for", "Restarts", "Launch", "Next try", "Replayed", "Supervisor", "Sidecar"]) {
      const value = make("dd", {}, NONE);
      list.append(make("div", {}, make("dt", {}, name), value));
      this.#values.set(name, value);
    }
  }

  /**
   * @param {Model} model
   * @param {Link} link
   */
  draw(model, link) {
    const status = model.status ?? model.health?.["supervisor"] ?? {};
    const isLive = link.phase === "live" || link.phase === "locked";
    const up = isLive && model.statusAt ? (status.uptime_s ?? 0) + (Date.now() - model.statusAt) / 1000 : status.uptime_s;
    this.#set("Running for", up === undefined || !isLive ? NONE : span(Math.floor(up)));
    this.#set("Restarts", status.restarts ?? NONE);
    this.#set("Launch", status.launch ?? NONE);
    this.#set("Next try", nextTry(model, link));
    this.#set("Replayed", status.calls ? count(status.calls.replayed, "call") : NONE);
    this.#set("Supervisor", status.pid ? `pid ${status.pid}` : NONE);
    this.#set("Sidecar", status.sidecar_pid ? `pid ${status.sidecar_pid}` : "not running");
  }

  /**
   * @param {string} name
   * @param {string | number} value
   */
  #set(name, value) {
    setText(/** @type {HTMLElement} */ (this.#values.get(name)), String(value));
  }
}

/**
 * @param {Model} model
 * @param {Link} link
 */
function nextTry(model, link) {
  if (model.nextTryAt === null || link.phase !== "live") return NONE;
  const seconds = Math.ceil((model.nextTryAt - Date.now()) / 1000);
  return seconds > 0 ? `in ${span(seconds)}` : "now";
}
