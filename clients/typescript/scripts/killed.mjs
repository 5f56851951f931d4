// node scripts/killed.mjs [ROUNDS]: kill a host with SIGKILL, and see when its supervisor and sidecar are gone.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { isAlive, real, skip, until } from "../build/test/fixtures/real.js";

const LIMIT_MS = 2_000;
const rounds = Number(process.argv[2] ?? 50);
if (skip) throw new Error(skip);

const script = fileURLToPath(new URL("../build/test/fixtures/doomed.js", import.meta.url));
const times = [];
for (let round = 0; round < rounds; round++) {
  const stdio = ["ignore", "pipe", "inherit"];
  const host = spawn(process.execPath, [script, JSON.stringify(real())], { stdio });
  const [line] = await once(createInterface(host.stdout), "line");
  const { pid, sidecar_pid: sidecar } = JSON.parse(line);
  host.kill("SIGKILL");
  times.push(await until(() => !isAlive(pid) && !isAlive(sidecar), LIMIT_MS));
}
times.sort((a, b) => a - b);
const [median, most] = [times[times.length >> 1], times.at(-1)].map((ms) => ms.toFixed(0));
console.log(`${rounds} hosts killed; all gone after ${median} ms (median), ${most} ms (most)`);
