// @ts-check
/** Tells a screen reader when the state changes: one short sentence, never a figure that keeps moving. */

import { byId, setText } from "./dom.js";
import { shownState, stateWord } from "./heading.js";
import { stageLabel, STAGES } from "./startup.js";

/** @typedef {import("./model.js").Model} Model */
/** @typedef {import("./link.js").Link} Link */

export class Announcer {
  #line = byId("announcer");
  #told = "";

  /**
   * @param {Model} model
   * @param {Link} link
   */
  draw(model, link) {
    const sentence = say(model, link);
    if (sentence === this.#told) return;
    this.#told = sentence;
    setText(this.#line, sentence);
  }
}

/**
 * @param {Model} model
 * @param {Link} link
 */
function say(model, link) {
  if (link.phase === "locked") return "This supervisor wants its token.";
  const state = shownState(model, link);
  if (state === "connecting") return "";
  if (state === "lost") return "The supervisor does not answer.";
  if (state === "starting" && model.startup.current >= 0 && !model.startup.isOver) {
    const stage = STAGES[model.startup.current];
    return `Starting: step ${model.startup.current + 1} of ${STAGES.length}, ${stageLabel(stage?.id ?? "")}.`;
  }
  const reason = state === "ready" || model.reason === "" ? "" : ` ${model.reason}`;
  return `${stateWord(state)}.${reason}`;
}
