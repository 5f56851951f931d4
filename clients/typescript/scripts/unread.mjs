// node scripts/unread.mjs [SECONDS]: embed while the supervisor's output is read, then while nobody reads it.
import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { SidecarClient } from "embedding-sidecar";
import { parseEvent } from "../build/src/events.js";
import { PROJECT, PYTHON, real, skip } from "../build/test/fixtures/real.js";

const seconds = Number(process.argv[2] ?? 60);
if (skip) throw new Error(skip);

const options = ["--model", "embedded", "--port", "0", "--events", "jsonl", "--log-level", "debug"];
const args = ["-m", "supervisor", "run", ...options, "--state-dir", real().stateDir];
const child = spawn(PYTHON, args, { cwd: PROJECT, stdio: ["pipe", "pipe", "ignore"] });
const lines = createInterface(child.stdout);
const { url } = await new Promise((resolve) => {
  lines.on("line", (line) => {
    const event = parseEvent(line);
    if (event?.channel === "supervisor:ready") resolve(event);
  });
});
const client = new SidecarClient({ baseUrl: url });

async function measure(forSeconds) {
  const ends = performance.now() + forSeconds * 1_000;
  const times = [];
  while (performance.now() < ends) {
    const began = performance.now();
    await client.embed("The cat sleeps on the sofa.");
    times.push(performance.now() - began);
  }
  times.sort((a, b) => a - b);
  const at = (share) => times[Math.floor(share * (times.length - 1))].toFixed(1);
  return `${times.length} calls: p50 ${at(0.5)} ms, p99 ${at(0.99)} ms, most ${at(1)} ms`;
}

await measure(1);
console.log("read  ", await measure(Math.min(10, seconds)));
lines.close();
child.stdout.pause();
console.log("unread", await measure(seconds));
child.stdin.end();
