import assert from "node:assert/strict";
import { type ChildProcessByStdio, spawn } from "node:child_process";
import { once } from "node:events";
import { writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { createInterface, type Interface } from "node:readline";
import type { Readable, Writable } from "node:stream";
import { after, afterEach, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import {
  type HostOptions,
  type ReadyEvent,
  SidecarClient,
  SidecarError,
  SidecarHost,
  STAGES,
  type SupervisorEvent,
} from "embedding-sidecar";
import { parseEvent } from "../src/events.js";
import { isAlive, PROJECT, PYTHON, real, scratch, skip, until } from "./fixtures/real.js";

const OPTIONS = real();
const shared = new SidecarHost(OPTIONS);
const events: SupervisorEvent[] = [];
let ready: ReadyEvent;
before(async () => {
  if (skip) return;
  shared.on("event", (event) => events.push(event));
  ready = await shared.start();
});
after(() => shared.stop());

const hosts: SidecarHost[] = [];
afterEach(async () => {
  await Promise.all(hosts.splice(0).map((host) => host.stop().catch(() => {})));
});

function host(options: HostOptions): SidecarHost {
  const made = new SidecarHost({ stopTimeoutMs: 60_000, ...options });
  hosts.push(made);
  return made;
}

async function failure(promise: Promise<unknown>): Promise<SidecarError> {
  const error = await promise.then(
    () => assert.fail("it succeeded"),
    (reason: unknown) => reason,
  );
  assert.ok(SidecarError.is(error), String(error));
  return error;
}

function cosine(a: Float32Array | undefined, b: Float32Array | undefined): number {
  assert.ok(a && b);
  return a.reduce((sum, value, index) => sum + value * (b[index] ?? Number.NaN), 0);
}

test("stages come in order, and the last one is ready", { skip }, () => {
  const seen = events.flatMap((event) => (event.channel === "startup:stage" ? [event.stage] : []));
  const places = seen.map((stage) => STAGES.indexOf(stage as (typeof STAGES)[number]));
  assert.deepEqual(
    places,
    [...places].sort((a, b) => a - b),
  );
  assert.deepEqual([seen.at(0), seen.at(-1)], ["supervisor_start", "ready"]);
  assert.deepEqual([shared.status().state, shared.status().stage], ["ready", "ready"]);
});

test("texts that mean alike lie near each other", { skip }, async () => {
  const { vectors, dim, truncated } = await shared.client.embedBatch([
    "The cat sleeps on the sofa.",
    "A kitten naps on the couch.",
    "Quarterly tax returns are due in April.",
  ]);
  assert.deepEqual([dim, truncated], [384, []]);
  assert.ok(cosine(vectors[0], vectors[1]) > 0.5);
  assert.ok(cosine(vectors[0], vectors[2]) < 0.2);
  for (const vector of vectors) assert.ok(Math.abs(cosine(vector, vector) - 1) < 1e-3);
});

test("float32 and JSON carry the same vectors", { skip }, async () => {
  const json = new SidecarClient({ baseUrl: ready.url, transport: "json" });
  const texts = ["", "one", "文字 🙂", `${"long ".repeat(2_000)}`];
  const rows = await shared.client.embedBatch(texts);
  const lists = await json.embedBatch(texts);
  const { truncated, tokens, fingerprint } = rows;
  assert.deepEqual(
    { truncated, tokens, fingerprint },
    {
      truncated: lists.truncated,
      tokens: lists.tokens,
      fingerprint: lists.fingerprint,
    },
  );
  assert.deepEqual(truncated, [3]);
  for (const [index, row] of rows.vectors.entries()) {
    assert.ok(cosine(row, lists.vectors[index]) > 0.99999);
  }
});

test("parts of a long list come back in order", { skip }, async () => {
  const client = new SidecarClient({ baseUrl: ready.url, batchSize: 7 });
  const texts = Array.from({ length: 40 }, (_, index) => `text number ${index}`);
  const { vectors } = await client.embedBatch(texts, { priority: "bulk" });
  for (const index of [0, 6, 7, 39]) {
    const alone = await client.embed(texts[index] ?? "");
    assert.ok(cosine(vectors[index], alone) > 0.9999);
  }
});

test("ready, info and health tell of one model", { skip }, async () => {
  const info = await shared.client.info();
  const health = await shared.client.health();
  assert.deepEqual(
    [info.model_id, info.dim, info.fingerprint],
    [ready.model, ready.dim, ready.fingerprint],
  );
  assert.deepEqual([health.status, health.dim], ["ok", 384]);
  assert.equal(await shared.client.checkHealth(), true);
  assert.equal((await shared.client.embedBatch(["x"])).fingerprint, info.fingerprint);
});

test("the server's own refusals arrive with their codes", { skip }, async () => {
  const { client } = shared;
  assert.equal((await failure(client.embedBatch([]))).code, "INVALID_REQUEST");
  const long = await failure(client.embed("word ".repeat(1_000), { truncate: false }));
  assert.deepEqual([long.code, long.status, long.details["index"]], ["TEXT_TOO_LONG", 400, 0]);
  const huge = await failure(client.embed("x".repeat(17 * 1024 * 1024)));
  assert.deepEqual([huge.code, huge.status], ["REQUEST_TOO_LARGE", 413]);
});

test("orders need the token that only the host knows", { skip }, async () => {
  assert.equal(ready.token, undefined, "the host gave it: it is on no output");
  const stranger = new SidecarClient({ baseUrl: ready.url });
  assert.equal((await failure(stranger.control("stop"))).code, "UNAUTHORIZED");
  const wrong = new SidecarClient({ baseUrl: ready.url, token: "wrong" });
  assert.equal((await failure(wrong.control("restart"))).code, "UNAUTHORIZED");
});

test("restart replaces the sidecar, and calls wait for it", { skip }, async () => {
  const before = shared.status();
  const restarting = shared.restart();
  const vector = await shared.client.embed("meanwhile");
  const again = await restarting;
  assert.equal(vector.length, 384);
  assert.deepEqual([again.url, again.pid], [before.url, before.pid]);
  assert.notEqual(again.sidecar_pid, before.sidecarPid);
  assert.equal(shared.status().state, "ready");
});

test("a killed sidecar is replaced, and no call fails", { skip }, async () => {
  const { sidecarPid } = shared.status();
  assert.ok(sidecarPid);
  const states: string[] = [];
  const note = ({ state }: { state: string }) => states.push(state);
  shared.on("supervisor:state", note);
  const back = new Promise<ReadyEvent>((resolve) => shared.on("supervisor:ready", resolve));
  process.kill(sidecarPid, "SIGKILL");
  assert.equal((await shared.client.embed("during the restart")).length, 384);
  assert.notEqual((await back).sidecar_pid, sidecarPid);
  shared.off("supervisor:state", note);
  assert.ok(states.includes("restarting"), states.join());
  assert.equal(shared.status().state, "ready");
});

test("an abort ends a call", { skip }, async () => {
  const controller = new AbortController();
  const texts = Array.from(
    { length: 512 },
    (_, index) => `${index} ${"words and more ".repeat(40)}`,
  );
  const running = shared.client.embedBatch(texts, { signal: controller.signal });
  setTimeout(() => controller.abort(new Error("typed on")), 50);
  await assert.rejects(running, /typed on/);
  assert.equal((await shared.client.embed("next")).length, 384);
});

test("after stop nothing is left", { skip }, async () => {
  const own = host(real());
  const { pid, sidecar_pid } = await own.start();
  const exit = new Promise<unknown>((resolve) => own.on("exit", resolve));
  await own.stop();
  assert.deepEqual(await exit, { code: 0, signal: null, expected: true });
  await until(() => !isAlive(pid) && !isAlive(sidecar_pid), 30_000);
});

// How soon is what scripts/killed.mjs measures: a machine busy with other tests says little about it.
test("a host that is killed leaves nothing", { skip }, async (t) => {
  const script = fileURLToPath(new URL("fixtures/doomed.js", import.meta.url));
  const doomed = spawn(process.execPath, [script, JSON.stringify(real())], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const [line] = (await once(createInterface(doomed.stdout), "line")) as [string];
  const { pid, sidecar_pid } = JSON.parse(line);
  assert.ok(isAlive(pid) && isAlive(sidecar_pid));
  doomed.kill("SIGKILL");
  const gone = await until(() => !isAlive(pid) && !isAlive(sidecar_pid), 30_000);
  t.diagnostic(`gone after ${gone.toFixed(0)} ms`);
});

async function taken(): Promise<{ port: number; free: () => void }> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return { port: (server.address() as { port: number }).port, free: () => server.close() };
}

const REFUSED: Record<string, readonly [() => HostOptions, code: string]> = {
  "an unknown model": [() => real({ model: scratch("no such model") }), "MODEL_NOT_FOUND"],
  "a state folder in use": [() => OPTIONS, "ALREADY_RUNNING"],
  "a state folder that is a file": [
    () => {
      writeFileSync(scratch("a file"), "");
      return real({ stateDir: scratch("a file") });
    },
    "PATH_NOT_WRITABLE",
  ],
};

for (const [name, [options, code]] of Object.entries(REFUSED)) {
  test(`${name} is ${code}`, { skip }, async () => {
    const refused = host(options());
    const exit = new Promise<{ code: number | null }>((resolve) => refused.on("exit", resolve));
    const error = await failure(refused.start());
    assert.equal(error.code, code);
    assert.ok(error.message && error.hint);
    assert.equal((await exit).code, 1);
    assert.equal(refused.status().error?.code, code);
  });
}

test("a port in use is PORT_IN_USE", { skip }, async () => {
  const { port, free } = await taken();
  const error = await failure(host(real({ port })).start());
  free();
  assert.equal(error.code, "PORT_IN_USE");
  assert.match(error.message, new RegExp(String(port)));
});

test("a project without the package is named as the reason", { skip }, async () => {
  const error = await failure(host(real({ project: "/" })).start());
  assert.deepEqual([error.code, error.details["cause"]], ["SIDECAR_START_FAILED", "not_installed"]);
});

/** The supervisor as a program that is not Node would start it. */
function bare(firstLine = ""): ChildProcessByStdio<Writable, Readable, null> {
  const { stateDir = "" } = real();
  const options = [
    "--model",
    "embedded",
    "--port",
    "0",
    "--events",
    "jsonl",
    "--log-level",
    "debug",
  ];
  const args = ["-m", "supervisor", "run", ...options, "--state-dir", stateDir];
  const child = spawn(PYTHON ?? "", args, { cwd: PROJECT, stdio: ["pipe", "pipe", "ignore"] });
  if (firstLine) child.stdin.write(firstLine);
  return child;
}

/** The first event of a channel; undefined when the output ends without one. */
async function first(lines: Interface, channel: string): Promise<SupervisorEvent | undefined> {
  for await (const line of lines) {
    const event = parseEvent(line);
    if (event?.channel === channel) return event;
  }
  return undefined;
}

test("a first line that is no token is refused", { skip }, async () => {
  const child = bare("garbage \u0000 \ufffd\n{half a line");
  const exited = once(child, "exit");
  const error = await first(createInterface(child.stdout), "startup:error");
  assert.equal(error?.channel === "startup:error" && error.code, "INVALID_REQUEST");
  assert.deepEqual(await exited, [1, null]);
});

test("a host that stops reading stalls nothing", { skip }, async () => {
  const child = bare();
  const lines = createInterface(child.stdout);
  const event = await first(lines, "supervisor:ready");
  assert.ok(event?.channel === "supervisor:ready");
  lines.close();
  child.stdout.pause();
  const client = new SidecarClient({ baseUrl: event.url });
  for (let call = 0; call < 50; call++) {
    assert.equal((await client.embed(`call ${call}`)).length, 384);
  }
  const exited = once(child, "exit");
  child.stdin.end();
  assert.deepEqual(await exited, [0, null]);
});
