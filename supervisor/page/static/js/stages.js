// @ts-check
/** The stages of the start, with how far the present one is. */

import { byId, make, setText, show } from "./dom.js";
import { bytes, span } from "./format.js";
import { STAGES } from "./startup.js";

/** @typedef {import("./startup.js").Startup} Startup */
/** @typedef {import("./startup.js").StageState} StageState */

/** Read out after a stage's name. @type {Readonly<Record<StageState, string>>} */
const SAID = { pending: "to come", current: "now", done: "done", skipped: "not needed", failed: "failed" };

export class Stages {
  #summary = byId("stages-summary");
  #now = byId("stage-now");
  #message = byId("stage-message");
  /** @type {HTMLProgressElement} */
  #progress = byId("stage-progress");
  #numbers = byId("stage-numbers");
  #rows = STAGES.map(({ label }) => {
    const said = make("span", { class: "unseen" });
    const time = make("span", { class: "time numbers" });
    const mark = make("span", { class: "mark", "aria-hidden": "true" });
    return { item: make("li", {}, mark, make("span", { class: "label" }, label), said, time), said, time };
  });

  constructor() {
    byId("stages").append(...this.#rows.map(({ item }) => item));
  }

  /** @param {Startup} startup */
  draw(startup) {
    this.#rows.forEach((row, index) => {
      const state = startup.stateOf(index);
      if (row.item.dataset["state"] !== state) {
        row.item.dataset["state"] = state;
        if (state === "current") row.item.setAttribute("aria-current", "step");
        else row.item.removeAttribute("aria-current");
      }
      const lasted = startup.lasted(index);
      setText(row.said, `, ${SAID[state]}`);
      setText(row.time, lasted === null ? "" : span(lasted / 1000));
    });
    setText(this.#summary, summary(startup));
    this.#drawNow(startup);
  }

  /** @param {Startup} startup */
  #drawNow(startup) {
    const isShown = startup.current >= 0 && !startup.isOver;
    show(this.#now, isShown);
    if (!isShown) return;
    setText(this.#message, startup.message);
    if (startup.progress === null) this.#progress.removeAttribute("value");
    else this.#progress.value = startup.progress;
    setText(this.#numbers, numbers(startup));
  }
}

/** @param {Startup} startup */
function summary(startup) {
  if (startup.current === -1) return "Nothing heard yet";
  if (startup.hasFailed) return `Failed at step ${startup.current + 1} of ${STAGES.length}`;
  if (startup.isOver) return startup.tookMs === null ? "Done" : `Ready after ${span(startup.tookMs / 1000)}`;
  return `Step ${startup.current + 1} of ${STAGES.length}`;
}

/** @param {Startup} startup */
function numbers(startup) {
  const percent = startup.progress === null ? "" : `${Math.floor(startup.progress)} %`;
  const download = startup.download;
  if (download === null || download.loaded === null) return percent;
  const size = download.total ? `${bytes(download.loaded)} of ${bytes(download.total)}` : bytes(download.loaded);
  const rate = download.rate ? `${bytes(download.rate)}/s` : "";
  return [percent, size, rate].filter(Boolean).join(" · ");
}
