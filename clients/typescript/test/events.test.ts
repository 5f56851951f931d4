import assert from "node:assert/strict";
import { test } from "node:test";
import { type ChannelEvents, parseEvent, type SupervisorEvent } from "../src/events.js";
import { CHANNELS, type Channel } from "../src/generated/wire.js";
import { ended, INITIAL_STATUS, reduce, spawned } from "../src/status.js";

const HEAD = { time: "2026-01-02T03:04:05.678Z", launch: 1 };

const EVENTS: { readonly [C in Channel]: ChannelEvents[C] } = {
  "startup:stage": {
    ...HEAD,
    channel: "startup:stage",
    stage: "downloading",
    index: 6,
    total: 9,
    message: "Fetching the model",
    progress: 41.5,
  },
  "startup:error": {
    ...HEAD,
    channel: "startup:error",
    code: "PYTHON_DEPS_MISSING",
    message: "aiohttp is not installed.",
    hint: "Run setup.",
    details: { missing: ["aiohttp"] },
    retryable: false,
  },
  "model:download:progress": {
    ...HEAD,
    channel: "model:download:progress",
    file: "model.safetensors",
    progress: 50,
    loaded: 1,
    total: 2,
  },
  "supervisor:ready": {
    ...HEAD,
    channel: "supervisor:ready",
    url: "http://127.0.0.1:8421",
    port: 8421,
    pid: 1,
    sidecar_pid: 2,
    model: "m",
    dim: 384,
    fingerprint: "f",
  },
  "supervisor:state": {
    ...HEAD,
    channel: "supervisor:state",
    state: "restarting",
    reason: "SIDECAR_CRASHED",
    restarts: 1,
    next_retry_s: 0.25,
  },
  log: { ...HEAD, channel: "log", level: "info", source: "sidecar", line: "hello" },
};

for (const channel of CHANNELS) {
  const event: SupervisorEvent = EVENTS[channel];

  test(`${channel} is read`, () => {
    assert.deepEqual(parseEvent(JSON.stringify(event)), event);
    const newer = { ...event, added_later: 1 };
    assert.deepEqual(parseEvent(JSON.stringify(newer)), newer);
  });

  test(`${channel} without one of its keys is no event`, () => {
    for (const key of Object.keys(event)) {
      const { [key as never]: _, ...rest } = event;
      assert.equal(parseEvent(JSON.stringify(rest)), undefined, key);
      const wrong = { ...event, [key]: [] };
      if (key !== "details") assert.equal(parseEvent(JSON.stringify(wrong)), undefined, key);
    }
  });
}

test("what is no event of ours is log", () => {
  const lines = [
    "",
    "Traceback (most recent call last):",
    "{",
    '{"channel":',
    "{}",
    "[]",
    "null",
    '{"channel":"constructor","time":"","launch":0}',
    '{"channel":"unknown:later","time":"","launch":0}',
    '{"channel":["log"],"time":"","launch":0}',
  ];
  for (const line of lines) assert.equal(parseEvent(line), undefined, line);
});

test("a start folds into a status", () => {
  let status = spawned(7);
  assert.equal(status.state, "starting");
  status = reduce(status, EVENTS["startup:stage"]);
  assert.deepEqual([status.stage, status.stageIndex, status.progress], ["downloading", 6, 41.5]);
  status = reduce(status, EVENTS["model:download:progress"]);
  assert.equal(status.download?.file, "model.safetensors");
  status = reduce(status, EVENTS["startup:stage"]);
  assert.equal(status.download?.loaded, 1, "the file stays while its stage lasts");
  status = reduce(status, EVENTS["startup:error"]);
  assert.deepEqual([status.stage, status.error?.code], ["error", "PYTHON_DEPS_MISSING"]);
  assert.equal(status.stageIndex, 6, "where it failed");
  status = reduce(status, EVENTS["supervisor:ready"]);
  assert.deepEqual(
    [status.state, status.url, status.error],
    ["ready", "http://127.0.0.1:8421", null],
  );
  status = reduce(status, EVENTS["supervisor:state"]);
  assert.deepEqual([status.state, status.restarts, status.nextRetryS], ["restarting", 1, 0.25]);
  assert.equal(reduce(status, EVENTS.log), status);
});

test("the end forgets the address and keeps the error", () => {
  const failed = reduce(reduce(spawned(7), EVENTS["supervisor:ready"]), EVENTS["startup:error"]);
  const status = ended(failed, "why");
  assert.deepEqual(
    [status.state, status.reason, status.url, status.pid],
    ["stopped", "why", null, null],
  );
  assert.equal(status.error?.code, "PYTHON_DEPS_MISSING");
  assert.deepEqual(structuredClone(status), status);
  assert.equal(spawned(8).error, INITIAL_STATUS.error);
});
