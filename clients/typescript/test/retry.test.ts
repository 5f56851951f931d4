import assert from "node:assert/strict";
import { test } from "node:test";
import { type ErrorFacts, SidecarError } from "../src/errors.js";
import { pauseAfter, withRetries } from "../src/retry.js";

const POLICY = { retries: 2, retryDelayMs: 10, longestPauseMs: 1_000 };

const CASES: Record<string, readonly [string, ErrorFacts, attempt: number, pause: number | null]> =
  {
    "a lost connection": ["NETWORK_ERROR", {}, 1, 10],
    "our own time-out": ["TIMEOUT", {}, 2, 10],
    "the last try": ["NETWORK_ERROR", {}, 3, null],
    "a 5xx without a code": ["HTTP_ERROR", { status: 502 }, 1, 10],
    "a 5xx with a code": ["NOT_READY", { status: 503, retryAfterMs: 200 }, 1, 200],
    "a shorter Retry-After": ["NOT_READY", { status: 503, retryAfterMs: 1 }, 1, 10],
    "a Retry-After that nobody waits for": [
      "CRASH_LOOP",
      { status: 503, retryAfterMs: 60_000 },
      1,
      null,
    ],
    "a full queue": ["OVERLOADED", { status: 429, retryAfterMs: 1 }, 1, null],
    "a bad request": ["INVALID_REQUEST", { status: 400 }, 1, null],
    "an answer that is none": ["PARSE_ERROR", {}, 1, null],
  };

for (const [name, [code, facts, attempt, pause]] of Object.entries(CASES)) {
  test(`${name}: ${pause === null ? "no other try" : `${pause} ms`}`, () => {
    assert.equal(pauseAfter(new SidecarError(code, "", facts), attempt, POLICY), pause);
  });
}

test("a foreign error is not tried again", () => {
  assert.equal(pauseAfter(new Error("no"), 1, POLICY), null);
});

test("an abort ends the pause between tries", async () => {
  const controller = new AbortController();
  const failing = async () => {
    queueMicrotask(() => setImmediate(() => controller.abort(new Error("enough"))));
    throw new SidecarError("NETWORK_ERROR", "");
  };
  const policy = { ...POLICY, retryDelayMs: 60_000, longestPauseMs: 60_000 };
  await assert.rejects(withRetries(failing, policy, controller.signal), /enough/);
});
