import assert from "node:assert/strict";
import { test } from "node:test";
import { batches } from "../src/batches.js";
import { MAX_BODY_BYTES } from "../src/generated/wire.js";

test("texts are cut by number, in order", () => {
  const cut = batches(["a", "b", "c", "d", "e"], 2);
  assert.deepEqual(
    cut.map(({ start, texts }) => [start, texts.map((text) => JSON.parse(text))]),
    [
      [0, ["a", "b"]],
      [2, ["c", "d"]],
      [4, ["e"]],
    ],
  );
});

test("texts are cut by the bytes that travel, not by characters", () => {
  const text = "文".repeat(2_000_000); // 6 MB as UTF-8
  const cut = batches([text, text, text, "", ""], 100);
  assert.deepEqual(
    cut.map(({ texts }) => texts.length),
    [2, 3],
  );
  for (const { texts } of cut) {
    assert.ok(Buffer.byteLength(`{"texts":[${texts.join(",")}]}`) <= MAX_BODY_BYTES);
  }
});

test("a text over the limit goes alone", () => {
  const cut = batches(["", "x".repeat(MAX_BODY_BYTES), ""], 100);
  assert.deepEqual(
    cut.map(({ start }) => start),
    [0, 1, 2],
  );
});

test("what is no text is named by its index", () => {
  for (const [value, found] of [
    [1, "number"],
    [null, "null"],
    [undefined, "undefined"],
  ] as const) {
    assert.throws(() => batches(["a", value as unknown as string], 100), {
      code: "INVALID_REQUEST",
      message: `texts[1]: wanted a string, found ${found}.`,
    });
  }
});
