// @ts-check
/** Orders to the supervisor, and the dialog that asks for the token that they need. */

import { asCallError } from "./api.js";
import { byId, setText, show } from "./dom.js";

/** @typedef {import("./api.js").Api} Api */
/** @typedef {import("./model.js").Model} Model */
/** @typedef {import("./link.js").Link} Link */
/** @typedef {"restart" | "retry"} Order */

/** States in which the supervisor waits before its next try. */
const WAITING = new Set(["broken", "restarting"]);

const DONE = { restart: "The sidecar is being replaced.", retry: "It is being tried now." };

export class Actions {
  #unlock = byId("unlock");
  #retry = byId("retry");
  #restart = byId("restart");
  #lock = byId("lock");
  #outcome = byId("outcome");
  /** @type {HTMLDialogElement} */
  #dialog = byId("token-dialog");
  /** @type {HTMLInputElement} */
  #token = byId("token");
  #error = byId("token-error");
  #api;
  #changed;
  /** What waits for the token. @type {Order | null} */
  #waiting = null;

  /**
   * @param {Api} api
   * @param {() => void} changed called when the token was given or forgotten
   */
  constructor(api, changed) {
    this.#api = api;
    this.#changed = changed;
    this.#unlock.addEventListener("click", () => this.askToken());
    this.#dialog.addEventListener("cancel", () => (this.#waiting = null));
    this.#retry.addEventListener("click", () => void this.order("retry"));
    this.#restart.addEventListener("click", () => void this.order("restart"));
    this.#lock.addEventListener("click", () => this.#use(null));
    byId("token-cancel").addEventListener("click", () => {
      this.#waiting = null;
      this.#dialog.close();
    });
    byId("token-form").addEventListener("submit", (event) => this.#submitted(event));
    this.#dialog.addEventListener("close", () => {
      this.#token.value = "";
      setText(this.#error, "");
    });
  }

  /**
   * @param {Model} model
   * @param {Link} link
   */
  draw(model, link) {
    const { hasToken } = this.#api;
    const isLive = link.phase === "live";
    show(this.#unlock, !hasToken);
    show(this.#lock, hasToken);
    show(this.#restart, hasToken && isLive);
    show(this.#retry, hasToken && isLive && WAITING.has(model.state));
  }

  /** @param {string} [problem] */
  askToken(problem = "") {
    setText(this.#error, problem);
    if (!this.#dialog.open) this.#dialog.showModal();
    this.#token.focus();
  }

  /**
   * Give the order, asking for the token first where there is none.
   * @param {Order} order
   */
  async order(order) {
    this.#waiting = order;
    if (!this.#api.hasToken) return this.askToken();
    setText(this.#outcome, "");
    try {
      await this.#api.open(`/supervisor/${order}`, { method: "POST", body: {} });
      this.#waiting = null;
      setText(this.#outcome, DONE[order]);
    } catch (error) {
      const problem = asCallError(error);
      if (problem.needsToken) this.refused();
      else setText(this.#outcome, problem.message);
    }
  }

  /** The token that was given is not the supervisor's. */
  refused() {
    this.#use(null);
    this.askToken("This is not the supervisor’s token.");
  }

  /** @param {Event} event */
  #submitted(event) {
    event.preventDefault();
    const token = this.#token.value.trim();
    if (!/^[\x21-\x7e]{1,512}$/.test(token)) {
      setText(this.#error, "A token has 1 to 512 visible ASCII characters.");
      return;
    }
    const order = this.#waiting;
    this.#dialog.close();
    this.#use(token);
    if (order !== null) void this.order(order);
  }

  /** @param {string | null} token */
  #use(token) {
    this.#api.useToken(token);
    setText(this.#outcome, token === null ? "" : "Actions are unlocked.");
    this.#changed();
  }
}
