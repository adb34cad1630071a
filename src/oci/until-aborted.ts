/** Waits for `wait`, or throws the reason of `signal` once it aborts. */
export async function untilAborted<Value>(wait: Promise<Value>, signal: AbortSignal): Promise<Value> {
  signal.throwIfAborted();
  const { promise, reject } = Promise.withResolvers<never>();
  const abort = () => reject(signal.reason);
  signal.addEventListener("abort", abort, { once: true });
  try {
    return await Promise.race([wait, promise]);
  } finally {
    signal.removeEventListener("abort", abort);
  }
}
