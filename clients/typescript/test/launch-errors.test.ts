import assert from "node:assert/strict";
import { test } from "node:test";
import {
  type Attempt,
  type Ending,
  earlyEnd,
  formatError,
  spawnError,
} from "../src/launch-errors.js";

const ATTEMPT: Attempt = {
  file: "/b/embedding-supervisor",
  platform: "linux",
  arch: "x64",
  executable: { format: "elf", arch: ["x64"] },
  lastLines: [],
};

const ENDS: Record<string, readonly [Ending, Partial<Attempt>, string, RegExp]> = {
  "an exit": [{ code: 3, signal: null }, {}, "ended_early", /last_lines/],
  "no package": [
    { code: 1, signal: null },
    { lastLines: ["/usr/bin/python3: No module named supervisor"] },
    "not_installed",
    /project/,
  ],
  "another processor's": [
    { code: 2, signal: null },
    { executable: { format: "elf", arch: ["arm64"] } },
    "wrong_architecture",
    /Wanted x64, found elf for arm64/,
  ],
  "x64 on Apple silicon is emulated": [
    { code: 1, signal: null },
    { platform: "darwin", arch: "arm64", executable: { format: "mach-o", arch: ["x64"] } },
    "ended_early",
    /./,
  ],
  "killed by macOS before a word": [
    { code: null, signal: "SIGKILL" },
    { platform: "darwin", executable: { format: "mach-o", arch: ["x64"] } },
    "refused",
    /sign/,
  ],
};

for (const [name, [ending, rest, cause, hint]] of Object.entries(ENDS)) {
  test(`early end, ${name}: ${cause}`, () => {
    const error = earlyEnd(ending, { ...ATTEMPT, ...rest });
    assert.deepEqual([error.code, error.details["cause"]], ["SIDECAR_START_FAILED", cause]);
    assert.match(error.hint, hint);
  });
}

const SPAWNS = {
  ENOENT: "missing",
  EACCES: "not_executable",
  EPERM: "refused",
  ENOEXEC: "wrong_format",
};

for (const [code, cause] of Object.entries(SPAWNS)) {
  test(`spawn, ${code}: ${cause}`, () => {
    const error = spawnError("/b", Object.assign(new Error(`spawn /b ${code}`), { code }));
    assert.deepEqual([error.details["cause"], error.retryable], [cause, false]);
    assert.ok(error.hint);
  });
}

test("spawn, for want of processes, may be tried again", () => {
  const error = spawnError("/b", Object.assign(new Error("spawn /b EAGAIN"), { code: "EAGAIN" }));
  assert.deepEqual([error.details["cause"], error.retryable], ["spawn_failed", true]);
});

test("a format says what was wanted and found", () => {
  const error = formatError("/b", { format: "pe", arch: ["x64"] }, "linux");
  assert.match(error.message, /wanted an executable for linux, found pe for x64/);
});
