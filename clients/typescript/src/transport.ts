import { SidecarError } from "./errors.js";

/** An HTTP answer, read to its end. */
export interface Answer {
  readonly status: number;
  readonly headers: Headers;
  readonly body: ArrayBuffer;
}

/** One call: everything but the address. */
export interface Call {
  readonly method: "GET" | "POST";
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: string | undefined;
  /** Until the answer is read to its end, in milliseconds. */
  readonly timeoutMs: number;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Make one HTTP call. Any status is an answer.
 *
 * Throws `SidecarError` `TIMEOUT` or `NETWORK_ERROR`, or the signal's own reason.
 */
export async function send(fetcher: typeof fetch, url: URL, call: Call): Promise<Answer> {
  call.signal?.throwIfAborted();
  // AbortSignal.any came with Node 20.
  const both = new AbortController();
  const onAbort = () => both.abort();
  let isLate = false;
  const timer = setTimeout(() => {
    isLate = true;
    both.abort();
  }, call.timeoutMs);
  call.signal?.addEventListener("abort", onAbort, { once: true });
  try {
    return await exchange(fetcher, url, call, both.signal);
  } catch (cause) {
    call.signal?.throwIfAborted();
    throw isLate ? late(url, call.timeoutMs) : unreachable(url, cause);
  } finally {
    clearTimeout(timer);
    call.signal?.removeEventListener("abort", onAbort);
  }
}

async function exchange(
  fetcher: typeof fetch,
  url: URL,
  { method, headers, body }: Call,
  signal: AbortSignal,
): Promise<Answer> {
  // A redirect would take the token elsewhere; the server never sends one.
  const init: RequestInit = { method, headers: { ...headers }, signal, redirect: "error" };
  const response = await fetcher(url, body === undefined ? init : { ...init, body });
  return {
    status: response.status,
    headers: response.headers,
    body: await response.arrayBuffer(),
  };
}

function late(url: URL, timeoutMs: number): SidecarError {
  return new SidecarError("TIMEOUT", `No answer from ${url.href} within ${timeoutMs} ms.`, {
    hint: "Send fewer texts a call, or raise timeoutMs.",
    details: { timeoutMs },
  });
}

function unreachable(url: URL, cause: unknown): SidecarError {
  const why = deepestMessage(cause);
  return new SidecarError("NETWORK_ERROR", `${url.href} could not be reached: ${why}.`, {
    hint: "Start the supervisor, or call the url that supervisor:ready gives.",
    cause,
  });
}

/** `fetch` says "fetch failed" and hides the reason in its cause. */
function deepestMessage(error: unknown): string {
  let current = error;
  while (current instanceof Error && current.cause instanceof Error) current = current.cause;
  if (!(current instanceof Error)) return String(current);
  return current.message || ("code" in current ? String(current.code) : current.name);
}
