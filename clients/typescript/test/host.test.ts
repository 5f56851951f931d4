import assert from "node:assert/strict";
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterEach, test } from "node:test";
import { fileURLToPath } from "node:url";
import {
  type HostEvents,
  type HostOptions,
  SidecarError,
  SidecarHost,
  type SupervisorEvent,
} from "embedding-sidecar";

const SCRIPT = fileURLToPath(new URL("fixtures/supervisor.js", import.meta.url));
const folder = mkdtempSync(path.join(tmpdir(), "host test ü "));
process.on("exit", () => rmSync(folder, { recursive: true, force: true }));

const hosts: SidecarHost[] = [];
afterEach(async () => {
  await Promise.all(hosts.splice(0).map((host) => host.stop().catch(() => {})));
});

/** A host of a child that behaves in this manner; stopped after the test. */
function host(manner: string, options: HostOptions = {}, record?: string): SidecarHost {
  const script = record ? [manner, `--record=${record}`] : [manner];
  const command = [process.execPath, SCRIPT, ...script] as const;
  const made = new SidecarHost({ command, stopTimeoutMs: 20_000, ...options });
  hosts.push(made);
  return made;
}

function once<K extends keyof HostEvents>(from: SidecarHost, name: K): Promise<HostEvents[K]> {
  return new Promise((resolve) => {
    const listener = (event: HostEvents[K]) => {
      from.off(name, listener);
      resolve(event);
    };
    from.on(name, listener);
  });
}

async function failure(promise: Promise<unknown>): Promise<SidecarError> {
  const error = await promise.then(
    () => assert.fail("it succeeded"),
    (reason: unknown) => reason,
  );
  assert.ok(SidecarError.is(error), String(error));
  return error;
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

test("start, embed, stop", async () => {
  const sidecar = host("well");
  assert.throws(() => sidecar.client, { code: "NOT_READY" });
  const ready = await sidecar.start();
  assert.equal(sidecar.status().state, "ready");
  assert.deepEqual([sidecar.status().url, sidecar.status().pid], [ready.url, ready.pid]);
  assert.deepEqual(await sidecar.client.embed("abc"), Float32Array.of(3, 0, 97));
  const ending = once(sidecar, "exit");
  await sidecar.stop();
  assert.deepEqual(await ending, { code: 0, signal: null, expected: true });
  assert.deepEqual([sidecar.status().state, sidecar.status().url], ["stopped", null]);
  assert.ok(!isAlive(ready.pid) && !sidecar.isRunning);
  assert.throws(() => sidecar.client, { code: "NOT_READY" });
  await sidecar.stop();
});

test("events come by name, all together, and through the iterator, in order", async () => {
  const sidecar = host("well");
  const all: SupervisorEvent[] = [];
  const stages: string[] = [];
  sidecar.on("event", (event) => all.push(event));
  sidecar.on("startup:stage", ({ stage }) => stages.push(stage));
  const reading = (async () => {
    const seen: SupervisorEvent[] = [];
    for await (const event of sidecar.events()) seen.push(event);
    return seen;
  })();
  await sidecar.start();
  await sidecar.stop();
  assert.deepEqual(stages, ["supervisor_start", "preflight", "ready"]);
  assert.deepEqual(await reading, all);
  assert.deepEqual(
    all.slice(-2).map((event) => event.channel === "supervisor:state" && event.state),
    ["draining", "stopped"],
  );
});

test("the loop over events may be left early", async () => {
  const sidecar = host("well");
  const starting = sidecar.start();
  for await (const event of sidecar.events()) {
    if (event.channel === "supervisor:ready") break;
  }
  await starting;
});

test("arguments, environment and token reach the supervisor", async () => {
  const record = path.join(folder, "record.jsonl");
  process.env["REMOVED"] = "x";
  const options: HostOptions = {
    model: "embedded",
    stateDir: "state",
    logLevel: "info",
    args: ["--threads", "2"],
    env: { ADDED: "1", REMOVED: undefined },
  };
  const sidecar = host("well", options, record);
  await sidecar.start();
  await sidecar.restart();
  const lines = readFileSync(record, "utf8").trim().split("\n");
  const { argv, env, token } = Object.assign({}, ...lines.map((line) => JSON.parse(line)));
  assert.deepEqual(argv.slice(2), [
    ...["run", "--events", "jsonl", "--port", "0", "--host-pid", String(process.pid)],
    ...["--model", "embedded", "--state-dir", path.resolve("state"), "--log-level", "info"],
    ...["--threads", "2"],
  ]);
  assert.deepEqual(env, { ADDED: "1" });
  assert.match(token, /^[\w-]{43}$/);
  assert.ok(!argv.join(" ").includes(token), "a command line is for all to read");
});

test("each start has a token of its own, or the one that was given", async () => {
  const tokens: string[] = [];
  for (const [index, token] of [undefined, undefined, "given"].entries()) {
    const record = path.join(folder, `token-${index}.jsonl`);
    const sidecar = host("well", { token }, record);
    await sidecar.start();
    await sidecar.restart();
    const line = readFileSync(record, "utf8").trim().split("\n").at(-1) ?? "";
    tokens.push(JSON.parse(line).token);
  }
  assert.equal(new Set(tokens).size, 3);
  assert.equal(tokens[2], "given");
});

test("start joins what runs, and starts again what ended", async () => {
  const sidecar = host("well", { env: { DELAY_MS: "150" } });
  const [one, two] = await Promise.all([sidecar.start(), sidecar.start()]);
  assert.equal(one.pid, two.pid);
  assert.equal((await sidecar.start()).pid, one.pid);
  const stopping = sidecar.stop();
  const again = await sidecar.start();
  await stopping;
  assert.notEqual(again.pid, one.pid);
  assert.equal((await sidecar.client.embed("a")).length, 3);
});

test("restart replaces the sidecar under the same address", async () => {
  const sidecar = host("well");
  const first = await sidecar.start();
  const client = sidecar.client;
  const second = await sidecar.restart();
  assert.deepEqual([second.url, second.launch], [first.url, 2]);
  assert.deepEqual([sidecar.status().restarts, sidecar.client === client], [1, true]);
});

test("restart starts what does not run", async () => {
  const sidecar = host("well");
  assert.equal((await sidecar.restart()).launch, 1);
});

test("a supervisor's own error is start's error", async () => {
  const sidecar = host("refuses");
  const shown = once(sidecar, "startup:error");
  const error = await failure(sidecar.start());
  assert.equal(error.code, "PYTHON_VERSION_INCOMPATIBLE");
  assert.deepEqual(
    [error.hint, error.details, error.retryable],
    ["Install one.", { found: "3.8" }, false],
  );
  assert.equal((await shown).message, error.message);
  if (sidecar.isRunning) await once(sidecar, "exit");
  assert.equal(sidecar.status().error?.code, "PYTHON_VERSION_INCOMPATIBLE");
  assert.equal(sidecar.status().state, "stopped");
});

test("a start-up error that the supervisor recovers from may be waited for", async () => {
  const sidecar = host("broken");
  const broken = once(sidecar, "supervisor:state");
  assert.equal((await failure(sidecar.start())).code, "CRASH_LOOP");
  assert.equal((await broken).state, "broken");
  assert.ok(sidecar.isRunning);
  assert.equal(sidecar.status().state, "broken");
  assert.equal((await sidecar.start()).launch, 6);
  assert.deepEqual([sidecar.status().state, sidecar.status().error], ["ready", null]);
});

test("an end without a word is told with its last lines", async () => {
  const sidecar = host("dies");
  const ending = once(sidecar, "exit");
  const error = await failure(sidecar.start());
  assert.equal(error.code, "SIDECAR_START_FAILED");
  assert.deepEqual(error.details["exit_code"], 3);
  assert.deepEqual(error.details["last_lines"], [
    "Traceback (most recent call last):",
    "ImportError: no",
  ]);
  assert.deepEqual(await ending, { code: 3, signal: null, expected: false });
});

test("an end after ready is told, and calls fail until the next start", async () => {
  const sidecar = host("well");
  const { pid } = await sidecar.start();
  const ending = once(sidecar, "exit");
  process.kill(pid, "SIGKILL");
  assert.deepEqual(await ending, { code: null, signal: "SIGKILL", expected: false });
  assert.equal(sidecar.status().reason, "the supervisor ended");
  assert.throws(() => sidecar.client, { code: "NOT_READY" });
  assert.notEqual((await sidecar.start()).pid, pid);
});

test("silence is STARTUP_TIMEOUT, and nothing stays", async () => {
  const sidecar = host("silent", { silenceTimeoutMs: 300 });
  const ending = once(sidecar, "exit");
  const error = await failure(sidecar.start());
  assert.deepEqual([error.code, error.retryable], ["STARTUP_TIMEOUT", true]);
  await ending;
  assert.equal(sidecar.status().error?.code, "STARTUP_TIMEOUT");
});

test("stop while starting ends the start", async () => {
  const sidecar = host("unready");
  const starting = failure(sidecar.start());
  await once(sidecar, "startup:stage");
  await sidecar.stop();
  assert.equal((await starting).code, "NOT_READY");
});

test("an abort while starting stops the supervisor and gives its reason", async () => {
  const sidecar = host("unready");
  const controller = new AbortController();
  const reason = new Error("the window was closed");
  const starting = sidecar.start({ signal: controller.signal });
  const ending = once(sidecar, "exit");
  await once(sidecar, "startup:stage");
  controller.abort(reason);
  await assert.rejects(starting, reason);
  assert.deepEqual(await ending, { code: 0, signal: null, expected: true });
  await assert.rejects(sidecar.start({ signal: controller.signal }), reason);
  assert.ok(!sidecar.isRunning);
});

test("a supervisor that does not stop is killed", async () => {
  const sidecar = host("deaf", { stopTimeoutMs: 200 });
  const { pid } = await sidecar.start();
  const ending = once(sidecar, "exit");
  await sidecar.stop();
  assert.deepEqual(await ending, { code: null, signal: "SIGKILL", expected: true });
  assert.ok(!isAlive(pid));
});

test("noise on both outputs is drained and kept apart from events", async () => {
  const sidecar = host("noisy");
  const lines: string[] = [];
  sidecar.on("output", ({ line }) => lines.push(line));
  await sidecar.start();
  await sidecar.stop();
  assert.deepEqual(lines.slice(0, 2), ["not json", "{half"]);
  const lengths = lines.map((line) => line.length);
  assert.equal(Math.max(...lengths), 1024 * 1024, "a line has a bound");
  assert.ok(lines.at(-1) === "the last line", `lengths: ${lengths}`);
});

function file(name: string, content: string | Buffer, mode: number): string {
  const full = path.join(folder, name);
  writeFileSync(full, content);
  chmodSync(full, mode);
  return full;
}

const ELF_OF_ANOTHER = Buffer.alloc(4096);
Buffer.from([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1]).copy(ELF_OF_ANOTHER);
ELF_OF_ANOTHER.writeUInt16LE(process.arch === "x64" ? 183 : 62, 18);

const REFUSED: Record<string, readonly [() => HostOptions, cause: string]> = {
  "a missing bundle": [() => ({ bundle: path.join(folder, "nothing") }), "missing"],
  "a bundle folder without its executable": [() => ({ bundle: folder }), "missing"],
  "a file without its execute permission": [
    () => ({ bundle: file("plain", "#!/bin/sh\nexit 0\n", 0o644) }),
    "not_executable",
  ],
  "a page that was downloaded instead": [
    () => ({ bundle: file("page", "<!doctype html>\ntouch ran-as-a-script\n", 0o755) }),
    "wrong_format",
  ],
  "an empty file": [() => ({ bundle: file("empty", "", 0o755) }), "wrong_format"],
  "a bundle of another processor": [
    () => ({ bundle: file("foreign", ELF_OF_ANOTHER, 0o755) }),
    "wrong_architecture",
  ],
  "a script that ends at once": [
    () => ({ bundle: file("ends", "#!/bin/sh\nexit 4\n", 0o755) }),
    "ended_early",
  ],
  "a missing Python": [() => ({ python: path.join(folder, "python") }), "missing"],
  "a missing project": [() => ({ project: path.join(folder, "nothing") }), "missing"],
  "a name that no PATH has": [() => ({ python: "no-such-python" }), "missing"],
};

for (const [name, [options, cause]] of Object.entries(REFUSED)) {
  test(
    `${name}: SIDECAR_START_FAILED, ${cause}`,
    {
      skip: process.platform === "win32",
    },
    async () => {
      const sidecar = new SidecarHost(options());
      const shown: string[] = [];
      sidecar.on("startup:error", ({ code }) => shown.push(code));
      const ending = once(sidecar, "exit");
      const error = await failure(sidecar.start());
      assert.deepEqual([error.code, error.details["cause"]], ["SIDECAR_START_FAILED", cause]);
      assert.ok(error.message && error.hint);
      await ending;
      assert.deepEqual(shown, ["SIDECAR_START_FAILED"]);
      assert.deepEqual([sidecar.status().state, sidecar.status().stage], ["stopped", "error"]);
    },
  );
}

test("options that make no sense are refused by name", () => {
  assert.throws(() => new SidecarHost({ port: 70_000 }), /port: wanted .* found 70000/);
  assert.throws(() => new SidecarHost({ stopTimeoutMs: Number.NaN }), RangeError);
  assert.throws(() => new SidecarHost({ silenceTimeoutMs: -1 }), RangeError);
  assert.throws(() => new SidecarHost({ token: "with space" }), /token: wanted/);
});
