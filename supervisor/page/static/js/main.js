// @ts-check
/** Puts the page together: what is heard changes the model, and each change draws the views once a frame. */

import { Actions } from "./actions.js";
import { Announcer } from "./announcer.js";
import { Api } from "./api.js";
import { Compare } from "./compare.js";
import { Doctor } from "./doctor.js";
import { eachFrame } from "./dom.js";
import { Heading } from "./heading.js";
import { Link } from "./link.js";
import { Log } from "./log.js";
import { Metrics } from "./metrics.js";
import { Model } from "./model.js";
import { Notices } from "./notices.js";
import { Plots } from "./plots.js";
import { Poller } from "./poller.js";
import { Stages } from "./stages.js";
import { Timeline } from "./timeline.js";

/** What no event tells is asked for this often. */
const STATUS_MS = 2_000;
const METRICS_MS = 2_000;
const LOG_MS = 2_000;

/** Lines of the log in one answer. */
const TAIL = 300;

const api = new Api();
const model = new Model();
const redraw = eachFrame(draw);

const link = new Link(api, {
  health: (health) => void (model.health = health),
  instance: () => model.instance(Date.now()),
  message: ({ event, data }) => {
    model.take(event, data);
    if (event === "supervisor:state" || event === "supervisor:ready") status.now();
    redraw();
  },
  change: () => void (follow(), redraw()),
});

const actions = new Actions(api, () => {
  link.tryNow();
  redraw();
});
const log = new Log();
const plots = new Plots(redraw);
const views = [new Heading(), actions, new Announcer()];
const stages = new Stages();
const timeline = new Timeline();
const notices = new Notices({
  tryLine: () => link.tryNow(),
  askToken: () => actions.askToken(),
  retry: () => void actions.order("retry"),
  reload: () => location.reload(),
});
new Compare(api);
new Doctor(api);

const status = new Poller(STATUS_MS, askStatus, () => redraw());
const metrics = new Poller(METRICS_MS, askMetrics, () => model.series.push(Date.now() / 1000, null));
const logs = new Poller(LOG_MS, askLog, () => {});

async function askStatus() {
  const answer = await api.json("/supervisor/status");
  link.check(answer.nonce);
  model.takeStatus(answer, Date.now());
  redraw();
}

async function askMetrics() {
  const text = await api.text("/metrics");
  const now = Date.now() / 1000;
  model.series.push(now, model.sampler.take(new Metrics(text), now));
  redraw();
}

async function askLog() {
  const { lines } = await api.json(`/supervisor/logs?tail=${TAIL}`);
  log.take(lines);
}

let wasLive = false;

/** The line has changed: ask only while somebody answers, and the log only while somebody looks. */
function follow() {
  const isLive = link.phase === "live";
  if (isLive && !wasLive) model.history.found();
  if (!isLive && wasLive) {
    model.history.lost(Date.now());
    model.series.push(Date.now() / 1000, null); // the plots break here
  }
  wasLive = isLive;
  status.run(isLive);
  metrics.run(isLive);
  logs.run(isLive && !document.hidden);
}

function draw() {
  for (const view of views) view.draw(model, link);
  notices.draw(model, link);
  stages.draw(model.startup);
  timeline.draw(model);
  if (!document.hidden) plots.draw(model);
}

document.addEventListener("visibilitychange", () => {
  follow();
  redraw();
});
setInterval(redraw, 1_000); // spans of time go on by themselves
addEventListener("online", () => link.tryNow());
addEventListener("pageshow", (event) => event.persisted && link.tryNow());
void link.run();
