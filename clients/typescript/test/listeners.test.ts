import assert from "node:assert/strict";
import { test } from "node:test";
import { Listeners } from "../src/listeners.js";

interface Events {
  a: number;
  b: string;
}

test("each listener of a name is called, in order, until it is removed", () => {
  const listeners = new Listeners<Events>();
  const seen: unknown[] = [];
  const first = (value: number) => seen.push(["first", value]);
  listeners.add("a", first);
  listeners.add("a", (value) => seen.push(["second", value]));
  listeners.add("b", (value) => seen.push(value));
  listeners.emit("a", 1);
  listeners.remove("a", first);
  listeners.remove("b", () => {});
  listeners.emit("a", 2);
  listeners.emit("b", "x");
  assert.deepEqual(seen, [["first", 1], ["second", 1], ["second", 2], "x"]);
});

test("a listener may remove itself, or add one, while it is called", () => {
  const listeners = new Listeners<Events>();
  const seen: number[] = [];
  const once = (value: number) => {
    listeners.remove("a", once);
    listeners.add("a", (next) => seen.push(next));
    seen.push(value);
  };
  listeners.add("a", once);
  listeners.emit("a", 1);
  listeners.emit("a", 2);
  assert.deepEqual(seen, [1, 2]);
});

test("one that throws keeps no other from being called", () => {
  const reported: unknown[] = [];
  const listeners = new Listeners<Events>((error) => reported.push(error));
  const fault = new Error("a fault of the app");
  const seen: number[] = [];
  listeners.add("a", () => {
    throw fault;
  });
  listeners.add("a", (value) => seen.push(value));
  listeners.emit("a", 1);
  assert.deepEqual([reported, seen], [[fault], [1]]);
});
