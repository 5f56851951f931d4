// @ts-check
/** One plot: a canvas by uPlot, its name, and the figures that its lines stand for. */

import UPlot from "../vendor/uplot/uPlot.esm.js";
import { byId, make, setText } from "./dom.js";
import { moment, NONE } from "./format.js";

const HEIGHT = 150;

/**
 * @typedef {object} Line
 * @property {keyof import("./samples.js").Point} name
 * @property {string} label
 * @property {string} color name of a CSS variable
 * @property {boolean} [isFilled]
 */

/**
 * @typedef {object} Description
 * @property {string} id of the figure
 * @property {string} title
 * @property {string} empty what is said while there is nothing to show
 * @property {number} least height of the axis in the values' unit, so that noise about zero does not look like much
 * @property {(value: number) => string} format a value with its unit
 * @property {readonly Line[]} lines
 */

/** @typedef {[number[], ...(number | null)[][]]} Columns */

export class Plot {
  #about;
  #place;
  #canvas = make("div", { class: "canvas", role: "img" });
  #empty = make("p", { class: "empty quiet" });
  /** @type {HTMLElement[]} */
  #figures = [];
  #when = make("span", { class: "quiet numbers" });
  /** @type {UPlot} */
  #plot;
  /** @type {Columns} */
  #columns;
  /** Seconds at which the service broke. @type {readonly number[]} */
  #breaks = [];

  /**
   * @param {Description} about
   * @param {string} group plots of a group share the cursor
   */
  constructor(about, group) {
    this.#about = about;
    this.#place = byId(about.id);
    this.#columns = [[], ...about.lines.map(() => [])];
    this.#place.append(this.#caption(), this.#canvas, this.#empty);
    setText(this.#empty, about.empty);
    this.#plot = new UPlot(this.#options(group), /** @type {any} */ (this.#columns), this.#canvas);
    new ResizeObserver(() => this.#fit()).observe(this.#canvas);
  }

  /**
   * @param {Columns} columns
   * @param {{ min: number, max: number }} range seconds
   * @param {readonly number[]} breaks
   */
  draw(columns, range, breaks) {
    this.#columns = columns;
    this.#breaks = breaks;
    this.#plot.batch(() => {
      this.#plot.setData(/** @type {any} */ (columns), false);
      this.#plot.setScale("x", range);
    });
    const isEmpty = columns.slice(1).every((column) => column.every((value) => value === null));
    if (this.#empty.hidden === isEmpty) this.#empty.hidden = !isEmpty;
    this.#tell();
    this.#canvas.setAttribute("aria-label", isEmpty ? `${this.#about.title}: ${this.#about.empty}` : this.#inWords());
  }

  /** Colours may have changed. */
  redraw() {
    this.#plot.redraw(false);
  }

  #caption() {
    const keys = this.#about.lines.map(({ label, color }) => {
      const figure = make("span", { class: "figure numbers" }, NONE);
      this.#figures.push(figure);
      return make("span", { class: "key" }, make("span", { class: `swatch ${color.slice(2)}`, "aria-hidden": "true" }), `${label} `, figure);
    });
    const head = make("span", { class: "plot-title" }, make("strong", {}, this.#about.title), this.#when);
    return make("figcaption", {}, head, make("span", { class: "keys" }, ...keys));
  }

  /** Show the figures under the cursor, or the last ones. */
  #tell() {
    const at = this.#plot.cursor?.idx ?? null;
    const [times, ...columns] = this.#columns;
    setText(this.#when, at === null || times[at] === undefined ? "" : moment(1000 * times[at]));
    columns.forEach((column, line) => {
      const value = at === null ? column.at(-1) : column[at];
      const figure = this.#figures[line];
      if (figure) setText(figure, value === null || value === undefined ? NONE : this.#about.format(value));
    });
  }

  #inWords() {
    const parts = this.#about.lines.map(({ label }, line) => {
      const known = (this.#columns[line + 1] ?? []).filter((value) => value !== null);
      const last = known.at(-1);
      if (last === undefined) return `${label}: nothing`;
      const most = known.reduce((a, b) => Math.max(a, b), last);
      return `${label}: last ${this.#about.format(last)}, most ${this.#about.format(most)}`;
    });
    return `${this.#about.title}. ${parts.join("; ")}.`;
  }

  #fit() {
    const width = Math.floor(this.#canvas.clientWidth);
    if (width > 0 && width !== this.#plot.width) this.#plot.setSize({ width, height: HEIGHT });
  }

  /**
   * @param {string} group
   * @returns {UPlot.Options}
   */
  #options(group) {
    const { lines, format, least } = this.#about;
    const axis = { stroke: () => color("--quiet"), font: "11px system-ui, sans-serif", ticks: { show: false } };
    const grid = { stroke: () => color("--line"), width: 1 };
    return {
      width: 300,
      height: HEIGHT,
      padding: [8, 8, 0, 0],
      legend: { show: false },
      cursor: { y: false, drag: { x: false, y: false }, points: { size: 5 }, sync: { key: group } },
      scales: { x: { time: true }, y: { range: (_, __, most) => [0, Math.max(least, 1.1 * (most ?? 0))] } },
      axes: [
        { ...axis, grid: { show: false }, size: 24, space: 44, values: (_, ticks) => ticks.map((t) => clock(t)) },
        { ...axis, grid, size: 62, space: 34, values: (_, ticks) => ticks.map((value) => format(value)) },
      ],
      series: [{}, ...lines.map(series)],
      hooks: { drawAxes: [(plot) => this.#drawBreaks(plot)], setCursor: [() => this.#tell()] },
    };
  }

  /** @param {UPlot} plot */
  #drawBreaks(plot) {
    const { ctx, bbox } = plot;
    ctx.save();
    ctx.strokeStyle = color("--broken");
    ctx.lineWidth = devicePixelRatio;
    ctx.setLineDash([3 * devicePixelRatio, 3 * devicePixelRatio]);
    for (const at of this.#breaks) {
      const x = Math.round(plot.valToPos(at, "x", true));
      if (x < bbox.left || x > bbox.left + bbox.width) continue;
      ctx.beginPath();
      ctx.moveTo(x, bbox.top);
      ctx.lineTo(x, bbox.top + bbox.height);
      ctx.stroke();
    }
    ctx.restore();
  }
}

/**
 * @param {Line} line
 * @returns {UPlot.Series}
 */
function series({ label, color: name, isFilled = false }) {
  /** @type {UPlot.Series} */
  const made = { label, width: 1.5, stroke: () => color(name), points: { show: false } };
  return isFilled ? { ...made, fill: () => color(`${name}-wash`) } : made;
}

/** @param {number} seconds */
function clock(seconds) {
  return moment(1000 * seconds, 1000 * seconds).slice(0, 5);
}

/** @type {Map<string, string>} */
const colors = new Map();

/** @param {string} name of a CSS variable */
function color(name) {
  const known = colors.get(name);
  if (known !== undefined) return known;
  const value = getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  colors.set(name, value);
  return value;
}

/** The colour scheme has changed. */
export function forgetColors() {
  colors.clear();
}
