import { SidecarError } from "./errors.js";

/** When to try again. */
export interface RetryPolicy {
  /** Tries after the first. */
  readonly retries: number;
  /** Pause before each of them, in milliseconds. */
  readonly retryDelayMs: number;
  /** Longest pause that a server's `Retry-After` may ask for; over it, the error is given at once. */
  readonly longestPauseMs: number;
}

/** Return how long to wait before try number `attempt` + 1 (first: 1), or null to give up. */
export function pauseAfter(error: unknown, attempt: number, policy: RetryPolicy): number | null {
  if (attempt > policy.retries || !SidecarError.is(error) || !mayPass(error)) return null;
  const asked = error.retryAfterMs ?? 0;
  return asked > policy.longestPauseMs ? null : Math.max(policy.retryDelayMs, asked);
}

/** Network errors, time-outs and 5xx; a 4xx is the caller's to mend. */
function mayPass(error: SidecarError): boolean {
  if (error.status !== null) return error.status >= 500;
  return error.code === "NETWORK_ERROR" || error.code === "TIMEOUT";
}

/** Run `attempt` until it succeeds or the policy gives up; throws the last error. */
export async function withRetries<T>(
  attempt: () => Promise<T>,
  policy: RetryPolicy,
  signal?: AbortSignal,
): Promise<T> {
  for (let number = 1; ; number++) {
    try {
      return await attempt();
    } catch (error) {
      const pause = pauseAfter(error, number, policy);
      if (pause === null) throw error;
      await sleep(pause, signal);
    }
  }
}

/** Wait; throws the signal's reason when it is aborted meanwhile. */
async function sleep(ms: number, signal?: AbortSignal): Promise<void> {
  signal?.throwIfAborted();
  await new Promise<void>((resolve, reject) => {
    const onAbort = () => {
      clearTimeout(timer);
      reject(signal?.reason);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener("abort", onAbort);
      resolve();
    }, ms);
    signal?.addEventListener("abort", onAbort, { once: true });
  });
}
