/** How a long list of texts is cut into requests. No I/O. */

import { SidecarError } from "./errors.js";
import { MAX_BODY_BYTES } from "./generated/wire.js";

/** Room for everything in the body but the texts. */
const ENVELOPE_BYTES = 1024;

/** Some texts of a list, as JSON, and where the first of them stood. */
export interface Batch {
  readonly start: number;
  readonly texts: readonly string[];
}

/**
 * Cut `texts` into requests of at most `maxTexts` texts that the server's body limit lets pass.
 *
 * Each text is returned as JSON. Throws `INVALID_REQUEST` for what is no string. A text that is
 * over the limit by itself is sent alone: the server's refusal names its limit.
 */
export function batches(texts: readonly string[], maxTexts: number): Batch[] {
  const result: { start: number; texts: string[] }[] = [];
  let bytes = 0;
  for (const [index, text] of texts.entries()) {
    const json = encoded(text, index);
    const size = Buffer.byteLength(json) + 1;
    const last = result.at(-1);
    if (last && last.texts.length < maxTexts && bytes + size <= MAX_BODY_BYTES - ENVELOPE_BYTES) {
      last.texts.push(json);
      bytes += size;
    } else {
      result.push({ start: index, texts: [json] });
      bytes = size;
    }
  }
  return result;
}

function encoded(text: unknown, index: number): string {
  if (typeof text === "string") return JSON.stringify(text);
  const found = text === null ? "null" : typeof text;
  throw new SidecarError("INVALID_REQUEST", `texts[${index}]: wanted a string, found ${found}.`, {
    hint: "Convert it before the call.",
    details: { index },
  });
}
