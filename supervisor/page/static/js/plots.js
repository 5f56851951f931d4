// @ts-check
/** The three plots and the choice of how much time they show. */

import { byId } from "./dom.js";
import { bytes, number, span } from "./format.js";
import { forgetColors, Plot } from "./plot.js";

/** @typedef {import("./model.js").Model} Model */

/** @type {readonly import("./plot.js").Description[]} */
const PLOTS = [
  {
    id: "plot-throughput",
    title: "Throughput",
    empty: "No call has been answered in this time.",
    least: 1,
    format: (value) => `${number(value)}/s`,
    lines: [{ name: "texts", label: "Texts", color: "--line-a", isFilled: true }],
  },
  {
    id: "plot-latency",
    title: "Time to embed",
    empty: "No call has been answered in this time.",
    least: 10,
    format: (value) => span(value / 1000),
    lines: [
      { name: "p95", label: "95 %", color: "--line-b" },
      { name: "p50", label: "Median", color: "--line-a" },
    ],
  },
  {
    id: "plot-memory",
    title: "Memory",
    empty: "No process has told its memory in this time.",
    least: 50e6,
    format: bytes,
    lines: [
      { name: "sidecar", label: "Sidecar", color: "--line-a", isFilled: true },
      { name: "supervisor", label: "Supervisor", color: "--line-b" },
    ],
  },
];

export class Plots {
  #plots = PLOTS.map((about) => new Plot(about, "work"));
  #range = byId("range");
  #seconds = 300;

  /** @param {() => void} redraw */
  constructor(redraw) {
    this.#range.addEventListener("change", (event) => {
      this.#seconds = Number(/** @type {HTMLInputElement} */ (event.target).value);
      redraw();
    });
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
      forgetColors();
      for (const plot of this.#plots) plot.redraw();
    });
  }

  /** @param {Model} model */
  draw(model) {
    const max = Date.now() / 1000;
    const range = { min: max - this.#seconds, max };
    const breaks = model.history.incidents.map(({ at }) => at / 1000).filter((at) => at >= range.min);
    PLOTS.forEach(({ lines }, index) => {
      const columns = model.series.columns(lines.map(({ name }) => name), range.min);
      this.#plots[index]?.draw(columns, range, breaks);
    });
  }
}
