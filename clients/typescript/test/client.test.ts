import assert from "node:assert/strict";
import { createServer } from "node:net";
import { afterEach, test } from "node:test";
import { type ClientOptions, SidecarClient, SidecarError } from "embedding-sidecar";
import { embed, json, type Respond, refuse, TestServer, vectorsOf } from "./fixtures/server.js";

const QUICK: ClientOptions = { retryDelayMs: 1, timeoutMs: 5_000 };
const cleanUps: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const cleanUp of cleanUps.splice(0)) await cleanUp();
});

async function serve(respond: Respond, options: ClientOptions = {}) {
  const server = await TestServer.start(respond);
  cleanUps.push(() => server.stop());
  return { server, client: new SidecarClient({ baseUrl: server.url, ...QUICK, ...options }) };
}

/** Answers each request with the next of these, and keeps to the last. */
function inTurn(...answers: Respond[]): Respond {
  return (seen, response) => {
    const answer = (answers.length > 1 ? answers.shift() : answers[0]) as Respond;
    answer(seen, response);
  };
}

async function failure(promise: Promise<unknown>): Promise<SidecarError> {
  const error = await promise.then(
    () => assert.fail("it succeeded"),
    (reason: unknown) => reason,
  );
  assert.ok(SidecarError.is(error), String(error));
  return error;
}

const TEXTS = ["", "a", "Grüße", "文字", "🙂", "x".repeat(200), 'quotes " and \\ and \n'];

for (const transport of ["float32", "json"] as const) {
  test(`vectors come in order over ${transport}`, async () => {
    const { server, client } = await serve((seen, response) => embed(seen, response), {
      transport,
    });
    const answer = await client.embedBatch(TEXTS);
    assert.deepEqual(
      answer.vectors,
      vectorsOf(TEXTS).map((row) => Float32Array.from(row)),
    );
    const { dim, fingerprint, tokens, truncated } = answer;
    assert.deepEqual(
      { dim, fingerprint, tokens, truncated },
      {
        dim: 3,
        fingerprint: "f1",
        tokens: 14,
        truncated: [5],
      },
    );
    const [seen] = server.seen;
    assert.equal(seen?.headers["content-type"], "application/json");
    assert.deepEqual(JSON.parse(seen?.body ?? ""), { texts: TEXTS });
  });
}

test("a long list of cut texts travels as runs", async () => {
  const { client } = await serve((_, response) => {
    const type = { "content-type": "application/octet-stream" };
    const shape = { "x-embedding-shape": "5,1", "x-embedding-truncated": "0, 2-4,nonsense" };
    response.writeHead(200, { ...type, ...shape }).end(Buffer.alloc(20));
  });
  assert.deepEqual((await client.embedBatch(["a", "b", "c", "d", "e"])).truncated, [0, 2, 3, 4]);
});

test("one text gives one vector", async () => {
  const { client } = await serve((seen, response) => embed(seen, response));
  assert.deepEqual(await client.embed("a"), Float32Array.of(1, 0, 97));
});

test("options travel by the names of the wire", async () => {
  const { server, client } = await serve((seen, response) => embed(seen, response), { token: "t" });
  await client.embed("a", {
    inputType: "query",
    priority: "interactive",
    normalize: false,
    truncate: false,
  });
  assert.deepEqual(JSON.parse(server.seen[0]?.body ?? ""), {
    texts: ["a"],
    normalize: false,
    truncate: false,
    input_type: "query",
    priority: "interactive",
  });
  assert.equal(server.seen[0]?.headers.authorization, "Bearer t");
});

test("a long list travels in parts and comes back whole", async () => {
  const { server, client } = await serve((seen, response) => embed(seen, response), {
    batchSize: 3,
  });
  const answer = await client.embedBatch(TEXTS);
  assert.equal(server.seen.length, 3);
  assert.deepEqual(
    answer.vectors.map(([length]) => length),
    TEXTS.map((text) => text.length),
  );
  assert.deepEqual([answer.tokens, answer.truncated], [14, [5]]);
});

test("an index in an error counts within the caller's list", async () => {
  const { client } = await serve(
    inTurn(
      (seen, response) => embed(seen, response),
      (_, response) => refuse(response, 422, "POISON_INPUT", { details: { index: 1 } }),
    ),
    { batchSize: 3 },
  );
  const error = await failure(client.embedBatch(TEXTS));
  assert.deepEqual([error.code, error.status, error.details["index"]], ["POISON_INPUT", 422, 4]);
});

test("vectors of two models are never mixed", async () => {
  const { client } = await serve(
    inTurn(
      (seen, response) => embed(seen, response, "f1"),
      (seen, response) => embed(seen, response, "f2"),
    ),
    { batchSize: 3 },
  );
  const error = await failure(client.embedBatch(TEXTS));
  assert.deepEqual([error.code, error.retryable], ["SIDECAR_NOT_HEALTHY", true]);
});

test("an empty list is the server's to refuse", async () => {
  const { client } = await serve((_, response) => refuse(response, 400, "INVALID_REQUEST"));
  assert.equal((await failure(client.embedBatch([]))).code, "INVALID_REQUEST");
});

test("what is no text is refused before it travels", async () => {
  const { server, client } = await serve((seen, response) => embed(seen, response));
  const error = await failure(client.embedBatch(["a", 1 as unknown as string]));
  assert.deepEqual(
    [error.code, error.details["index"], server.seen.length],
    ["INVALID_REQUEST", 1, 0],
  );
});

const RETRIED: Record<string, Respond> = {
  "a 5xx with a code": (_, response) => refuse(response, 503, "NOT_READY"),
  "a 5xx without a code": (_, response) => response.writeHead(502).end("<h1>Bad gateway</h1>"),
  "a connection that breaks": (_, response) => response.destroy(),
  "an answer that breaks": (_, response) => {
    response.writeHead(200, { "content-length": "100" });
    response.write("half", () => response.destroy());
  },
};

for (const [name, broken] of Object.entries(RETRIED)) {
  test(`${name}: tried again`, async () => {
    const { server, client } = await serve(inTurn(broken, broken, (s, r) => embed(s, r)));
    assert.equal((await client.embed("a")).length, 3);
    assert.equal(server.seen.length, 3);
  });

  test(`${name}: given up after two more tries`, async () => {
    const { server, client } = await serve(broken);
    const error = await failure(client.embed("a"));
    const codes = ["NOT_READY", "HTTP_ERROR", "NETWORK_ERROR"];
    assert.ok(codes.includes(error.code) && error.retryable, error.code);
    assert.equal(server.seen.length, 3);
  });
}

const NOT_RETRIED: Record<string, readonly [Respond, string]> = {
  "a 4xx": [(_, response) => refuse(response, 400, "TEXT_TOO_LONG"), "TEXT_TOO_LONG"],
  "a full queue": [(_, response) => refuse(response, 429, "OVERLOADED"), "OVERLOADED"],
  "a 4xx without a code": [(_, response) => response.writeHead(404).end("no"), "HTTP_ERROR"],
  "an older server's 4xx": [(_, response) => json(response, 422, { detail: [] }), "HTTP_ERROR"],
  "a redirect": [
    (_, response) => response.writeHead(302, { location: "/elsewhere" }).end(),
    "NETWORK_ERROR",
  ],
};

for (const [name, [respond, code]] of Object.entries(NOT_RETRIED)) {
  test(`${name} is ${code}`, async () => {
    const { server, client } = await serve(respond);
    assert.equal((await failure(client.embed("a"))).code, code);
    if (code !== "NETWORK_ERROR") assert.equal(server.seen.length, 1);
  });
}

const UNREADABLE: Record<string, Respond> = {
  "a page": (_, response) => response.writeHead(200, { "content-type": "text/html" }).end("<p>"),
  "JSON of another shape": (_, response) => json(response, 200, { data: [] }),
  "too few vectors": (_, response) => json(response, 200, { vectors: [] }),
  "vectors of unlike length": (_, response) => json(response, 200, { vectors: [[1], [1, 2]] }),
  "what is no number": (_, response) => json(response, 200, { vectors: [[1], [null]] }),
  "rows without their shape": (_, response) =>
    response.writeHead(200, { "content-type": "application/octet-stream" }).end("12345678"),
  "rows of another number": (_, response) =>
    response
      .writeHead(200, { "content-type": "application/octet-stream", "x-embedding-shape": "1,2" })
      .end("12345678"),
  "rows that are cut off": (_, response) =>
    response
      .writeHead(200, { "content-type": "application/octet-stream", "x-embedding-shape": "2,2" })
      .end("123456789"),
};

for (const [name, respond] of Object.entries(UNREADABLE)) {
  test(`${name}, where vectors belong, is PARSE_ERROR`, async () => {
    const { server, client } = await serve(respond);
    const error = await failure(client.embedBatch(["a", "b"]));
    assert.deepEqual([error.code, error.retryable, server.seen.length], ["PARSE_ERROR", false, 1]);
    assert.match(error.message, /^Wanted .*, found /);
  });
}

test("no answer in time is TIMEOUT, after three tries", async () => {
  const { server, client } = await serve(() => {}, { timeoutMs: 60 });
  const error = await failure(client.embed("a"));
  assert.deepEqual([error.code, error.retryable, server.seen.length], ["TIMEOUT", true, 3]);
});

test("a body that never ends is TIMEOUT too", async () => {
  const { client } = await serve(
    (_, response) => {
      response.writeHead(200, { "content-type": "application/json" });
      response.write("{");
    },
    { timeoutMs: 60, retries: 0 },
  );
  assert.equal((await failure(client.embed("a"))).code, "TIMEOUT");
});

test("nobody there is NETWORK_ERROR with the reason", async () => {
  const closed = createServer();
  await new Promise<void>((resolve) => closed.listen(0, "127.0.0.1", resolve));
  const { port } = closed.address() as { port: number };
  await new Promise((resolve) => closed.close(resolve));
  const client = new SidecarClient({ baseUrl: `http://127.0.0.1:${port}`, ...QUICK });
  const error = await failure(client.embed("a"));
  assert.equal(error.code, "NETWORK_ERROR");
  assert.match(error.message, /ECONNREFUSED/);
  assert.equal(await client.checkHealth(), false);
});

test("an abort gives the caller's own reason, at once", async () => {
  const { client } = await serve(() => {});
  const controller = new AbortController();
  const waiting = client.embed("a", { signal: controller.signal });
  const reason = new Error("the user typed on");
  setImmediate(() => controller.abort(reason));
  await assert.rejects(waiting, reason);
  await assert.rejects(client.embed("a", { signal: controller.signal }), reason);
  await assert.rejects(client.checkHealth({ signal: controller.signal }), reason);
});

test("a Retry-After is told to the caller", async () => {
  const headers = { "retry-after": "2.5" };
  const { client } = await serve((_, r) => refuse(r, 429, "OVERLOADED", { headers }));
  assert.equal((await failure(client.embed("a"))).retryAfterMs, 2_500);
});

test("health is the server's account, ready or not", async () => {
  const starting = { status: "loading", model: null, dim: null, stage: "sidecar_ready" };
  const ok = { status: "ok", model: "m", dim: 3 };
  const { client } = await serve(
    inTurn(
      (_, response) => json(response, 503, starting),
      (_, response) => json(response, 503, starting),
      (_, response) => json(response, 200, ok),
    ),
  );
  assert.deepEqual(await client.health(), starting);
  assert.equal(await client.checkHealth(), false);
  assert.equal(await client.checkHealth(), true);
  assert.deepEqual(await client.health(), ok);
});

test("a sidecar that sleeps on purpose is healthy", async () => {
  const { client } = await serve((_, response) => json(response, 200, { status: "idle" }));
  assert.equal(await client.checkHealth(), true);
});

test("another program on the port is not healthy", async () => {
  const { client } = await serve((_, response) => json(response, 200, { hello: "world" }));
  assert.equal(await client.checkHealth(), false);
  assert.equal((await failure(client.health())).code, "PARSE_ERROR");
  assert.equal((await failure(client.info())).code, "PARSE_ERROR");
});

test("info is passed on", async () => {
  const info = { model_id: "org/m", dim: 3, fingerprint: "f" };
  const { server, client } = await serve((_, response) => json(response, 200, info));
  assert.deepEqual(await client.info(), info);
  assert.deepEqual([server.seen[0]?.method, server.seen[0]?.path], ["GET", "/info"]);
});

test("a base address may have a path, with or without its last slash", async () => {
  const { server } = await serve((_, response) => json(response, 200, { status: "ok" }));
  for (const suffix of ["", "/", "/below", "/below/"]) {
    await new SidecarClient({ baseUrl: server.url + suffix }).health();
  }
  assert.deepEqual(
    server.seen.map(({ path }) => path),
    ["/health", "/health", "/below/health", "/below/health"],
  );
});

test("options that make no sense are refused by name", () => {
  assert.throws(() => new SidecarClient({ timeoutMs: 0 }), /timeoutMs: wanted .* found 0/);
  assert.throws(() => new SidecarClient({ timeoutMs: Number.POSITIVE_INFINITY }), RangeError);
  assert.throws(() => new SidecarClient({ retries: -1 }), /retries/);
  assert.throws(() => new SidecarClient({ batchSize: 4096 }), /batchSize: .* 2048/);
  assert.throws(() => new SidecarClient({ baseUrl: "nonsense" }), TypeError);
  assert.throws(() => new SidecarClient({ baseUrl: "file:///x" }), /http address/);
});

test("an error keeps its facts as plain data", () => {
  const error = new SidecarError("OVERLOADED", "full", {
    hint: "wait",
    status: 429,
    retryAfterMs: 5,
  });
  assert.deepEqual(JSON.parse(JSON.stringify(error)), {
    code: "OVERLOADED",
    message: "full",
    hint: "wait",
    retryable: true,
    details: {},
    status: 429,
    retryAfterMs: 5,
  });
  assert.ok(!SidecarError.is({ code: "OVERLOADED" }));
});
