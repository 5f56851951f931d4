import assert from "node:assert/strict";
import { test } from "node:test";
import { EventQueue } from "../src/queue.js";

test("values come in order, and the end comes after them", async () => {
  const queue = new EventQueue<number>(10, () => {});
  queue.push(1);
  const seen: number[] = [];
  const reading = (async () => {
    for await (const value of queue) seen.push(value);
  })();
  queue.push(2);
  await new Promise(setImmediate);
  queue.push(3);
  queue.close();
  queue.push(4);
  await reading;
  assert.deepEqual(seen, [1, 2, 3]);
});

test("a slow reader loses the oldest, and it is counted", async () => {
  const queue = new EventQueue<number>(2, () => {});
  for (const value of [1, 2, 3, 4]) queue.push(value);
  assert.equal(queue.dropped, 2);
  assert.deepEqual(await queue.next(), { value: 3, done: false });
});

test("leaving the loop releases the queue once", async () => {
  let closed = 0;
  const queue = new EventQueue<number>(2, () => {
    closed += 1;
  });
  queue.push(1);
  for await (const _ of queue) break;
  queue.close();
  assert.equal(closed, 1);
  assert.deepEqual(await queue.next(), { value: undefined, done: true });
});
