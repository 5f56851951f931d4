// Shows the status that main sends, and searches as the user types.

/** @typedef {import("embedding-sidecar").HostStatus} HostStatus */
/** @typedef {import("../search.js").Hit} Hit */
/** @typedef {import("embedding-sidecar").ErrorData} ErrorData */
/** @typedef {{ ok: true, value: Hit[] | null } | { ok: false, error: ErrorData }} Answer */

const sidecar =
  /** @type {{
   *   status(): Promise<HostStatus>,
   *   onStatus(listener: (status: HostStatus) => void): void,
   *   start(): Promise<void>,
   *   search(query: string): Promise<Answer>,
   * }} */ (Reflect.get(window, "sidecar"));

const TYPING_PAUSE_MS = 150;

const STAGES = [
  "Supervisor",
  "Checks",
  "Environment",
  "Engine started",
  "Model found",
  "Download",
  "Model loaded",
  "Warm-up",
  "Ready",
];

/** What the user may notice while the app goes on: the engine is replaced, and calls wait. */
const NOTICES = /** @type {Record<string, string>} */ ({
  restarting: "The engine is starting again; your search will be answered.",
  suspect: "The engine is slow to answer.",
  broken: "The engine keeps failing; it is tried again soon.",
  draining: "The engine is stopping.",
  stopped: "The engine has stopped.",
});

/** @param {string} id */
const byId = (id) => /** @type {HTMLElement} */ (document.getElementById(id));
const progress = /** @type {HTMLProgressElement} */ (byId("progress"));
const query = /** @type {HTMLInputElement} */ (byId("query"));

let wasReady = false;

byId("stages").append(...STAGES.map((name) => item(name)));

/** @param {HostStatus} status */
function show(status) {
  wasReady ||= status.state === "ready";
  const failed = status.error !== null && status.state !== "ready";
  const isSearching = wasReady && !failed;
  if (isSearching && byId("search").hidden) queueMicrotask(() => query.focus());
  byId("splash").hidden = isSearching;
  byId("search").hidden = !isSearching;
  showStart(status);
  showProblem(status, failed);
  byId("notice").hidden = !(status.state in NOTICES);
  byId("notice").textContent = NOTICES[status.state] ?? "";
}

/** @param {HostStatus} status */
function showStart({ stage, stageIndex, message, progress: percent, download }) {
  const known = download?.progress ?? percent;
  byId("message").hidden = stage === "error";
  byId("message").textContent = message || "Waiting for the supervisor";
  if (known === null) progress.removeAttribute("value");
  else progress.value = known / 100;
  for (const [index, row] of [...byId("stages").children].entries()) {
    const reached = stage === "error" ? "failed" : "current";
    row.className = placeOf(index + 1, stageIndex ?? 0, reached);
    if (row.className === reached) row.setAttribute("aria-current", "step");
    else row.removeAttribute("aria-current");
  }
}

/**
 * @param {number} number
 * @param {number} last The stage that was reached last.
 * @param {string} reached What that one is called.
 */
function placeOf(number, last, reached) {
  if (number === last) return reached;
  return number < last ? "done" : "waiting";
}

/**
 * @param {HostStatus} status
 * @param {boolean} failed
 */
function showProblem({ error }, failed) {
  byId("problem").hidden = !failed;
  progress.hidden = failed;
  if (error === null) return;
  byId("problem-code").textContent = error.code;
  byId("problem-message").textContent = error.message;
  byId("problem-hint").textContent = error.hint;
}

async function search() {
  const text = query.value.trim();
  if (text === "") return showHits([], "");
  const answer = await sidecar.search(text);
  if (!answer.ok) return showHits([], `${answer.error.message} ${answer.error.hint}`);
  if (answer.value !== null) showHits(answer.value, `${answer.value.length} nearest notes`);
}

/**
 * @param {Hit[]} hits
 * @param {string} summary
 */
function showHits(hits, summary) {
  byId("summary").textContent = summary;
  byId("hits").replaceChildren(...hits.map(({ text, score }) => hit(text, score)));
}

/**
 * @param {string} text
 * @param {number} score
 */
function hit(text, score) {
  const row = item(text);
  const meter = document.createElement("meter");
  meter.value = Math.max(0, score);
  meter.title = `cosine ${score.toFixed(2)}`;
  row.append(meter);
  return row;
}

/** @param {string} text */
function item(text) {
  const row = document.createElement("li");
  const label = document.createElement("span");
  label.textContent = text;
  row.append(label);
  return row;
}

let typing = 0;
query.addEventListener("input", () => {
  clearTimeout(typing);
  typing = window.setTimeout(() => void search(), TYPING_PAUSE_MS);
});
byId("form").addEventListener("submit", (event) => {
  event.preventDefault();
  clearTimeout(typing);
  void search();
});
byId("again").addEventListener("click", () => void sidecar.start());

sidecar.onStatus(show);
void sidecar.status().then(show);
