// @ts-check
/** Folds the lines of a start into the nine stages. Pure: one line in, state changed. */

/** @typedef {"pending" | "current" | "done" | "skipped" | "failed"} StageState */

/** @typedef {{ readonly id: string, readonly label: string }} Stage */

/** The stages in their only order, in words for people. @type {readonly Stage[]} */
export const STAGES = [
  { id: "supervisor_start", label: "Supervisor" },
  { id: "preflight", label: "Checks" },
  { id: "venv_resolve", label: "Environment" },
  { id: "sidecar_spawn", label: "Sidecar" },
  { id: "model_resolve", label: "Find model" },
  { id: "downloading", label: "Get model" },
  { id: "sidecar_ready", label: "Load model" },
  { id: "warmup", label: "First inference" },
  { id: "ready", label: "Ready" },
];

/** @param {string} id */
export function stageLabel(id) {
  return STAGES.find((stage) => stage.id === id)?.label ?? id;
}

/**
 * @typedef {object} Download
 * @property {string} file
 * @property {number | null} loaded bytes
 * @property {number | null} total bytes
 * @property {number | null} rate bytes a second, over what was heard lately
 */

const READY = STAGES.length - 1;

/** Seconds of the download that its rate is taken from. */
const RATE_WINDOW_MS = 5_000;

export class Startup {
  /** Index of the furthest stage; -1 before the first line. */
  current = -1;
  /** When each stage was entered, ms since the epoch; undefined where it was not, or is no longer kept. @type {(number | undefined)[]} */
  entered = [];
  message = "";
  /** 0 to 100; null where it is not known. @type {number | null} */
  progress = null;
  hasFailed = false;
  /** @type {Download | null} */
  download = null;
  /** @type {{ at: number, loaded: number, file: string }[]} */
  #lately = [];

  get isOver() {
    return this.current === READY || this.hasFailed;
  }

  /** From the first line that is kept to ready; null before. */
  get tookMs() {
    const first = this.entered.find((at) => at !== undefined);
    const last = this.entered[READY];
    return first === undefined || last === undefined ? null : last - first;
  }

  /**
   * @param {{ stage: string, message?: string, progress?: number | null }} line
   * @param {number} at ms since the epoch
   */
  stage(line, at) {
    const index = STAGES.findIndex(({ id }) => id === line.stage);
    if (index < this.current || index === -1) return;
    this.entered[index] ??= at;
    if (index > this.current) this.download = null;
    this.current = index;
    this.message = line.message ?? "";
    this.progress = line.progress ?? null;
    this.hasFailed = false;
  }

  /**
   * @param {{ file: string, loaded: number | null, total: number | null }} line
   * @param {number} at ms since the epoch
   */
  bytes(line, at) {
    const loaded = line.loaded ?? 0;
    this.#lately = this.#lately.filter((seen) => seen.file === line.file && at - seen.at <= RATE_WINDOW_MS);
    const first = this.#lately[0];
    const rate = first && at > first.at ? (1000 * (loaded - first.loaded)) / (at - first.at) : null;
    this.#lately.push({ at, loaded, file: line.file });
    this.download = { file: line.file, loaded: line.loaded, total: line.total, rate };
  }

  /** The start ended without getting ready. */
  fail() {
    if (this.current < READY) this.hasFailed = true;
  }

  /** It is ready, though the lines that said so are no longer kept. */
  assumeReady() {
    this.current = READY;
  }

  /**
   * @param {number} index
   * @returns {StageState}
   */
  stateOf(index) {
    if (index > this.current) return "pending";
    if (index === this.current && index < READY) return this.hasFailed ? "failed" : "current";
    const isDownload = STAGES[index]?.id === "downloading";
    return isDownload && this.entered[index] === undefined ? "skipped" : "done";
  }

  /**
   * How long a stage took, ms; null while it runs, when it was skipped, or when its lines are no longer kept.
   * @param {number} index
   */
  lasted(index) {
    const from = this.entered[index];
    const to = this.entered.slice(index + 1).find((at) => at !== undefined);
    return from === undefined || to === undefined ? null : to - from;
  }
}
