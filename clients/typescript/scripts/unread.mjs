// node scripts/unread.mjs [SECONDS]: embed by turns with a supervisor whose output is read and one whose output is not.
import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { SidecarClient } from "embedding-sidecar";
import { parseEvent } from "../build/src/events.js";
import { PROJECT, PYTHON, real, skip } from "../build/test/fixtures/real.js";

const seconds = Number(process.argv[2] ?? 60);
if (skip) throw new Error(skip);

const options = ["--model", "embedded", "--port", "0", "--events", "jsonl", "--log-level", "debug"];

async function start() {
  const args = ["-m", "supervisor", "run", ...options, "--state-dir", real().stateDir];
  const child = spawn(PYTHON, args, { cwd: PROJECT, stdio: ["pipe", "pipe", "ignore"] });
  const lines = createInterface(child.stdout);
  const { url } = await new Promise((resolve) => {
    lines.on("line", (line) => {
      const event = parseEvent(line);
      if (event?.channel === "supervisor:ready") resolve(event);
    });
  });
  return { child, lines, client: new SidecarClient({ baseUrl: url }), times: [] };
}

async function embed(side) {
  const began = performance.now();
  await side.client.embed("The cat sleeps on the sofa.");
  side.times.push(performance.now() - began);
}

function told({ times }) {
  times.sort((a, b) => a - b);
  const at = (share) => times[Math.floor(share * (times.length - 1))].toFixed(1);
  return `${times.length} calls: p50 ${at(0.5)} ms, p99 ${at(0.99)} ms, most ${at(1)} ms`;
}

const [read, unread] = [await start(), await start()];
unread.lines.close();
unread.child.stdout.pause();
const ends = performance.now() + seconds * 1_000;
while (performance.now() < ends) {
  await embed(read);
  await embed(unread);
}
console.log("read  ", told(read));
console.log("unread", told(unread));
for (const { child } of [read, unread]) child.stdin.end();
