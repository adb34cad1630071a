/**
 * Does `work` for all items at once. When one fails, or `signal` aborts, the signal that the others were given aborts; all are waited for, and
 * the first error is thrown.
 */
export async function allOrNone<Item>(
  items: readonly Item[],
  signal: AbortSignal,
  work: (item: Item, signal: AbortSignal) => Promise<unknown>,
): Promise<void> {
  signal.throwIfAborted();
  const inner = new AbortController();
  const abort = () => inner.abort(signal.reason);
  signal.addEventListener("abort", abort, { once: true });
  let failure: { readonly error: unknown } | undefined;
  const run = async (item: Item): Promise<void> => {
    try {
      await work(item, inner.signal);
    } catch (error) {
      failure ??= { error };
      inner.abort(error);
    }
  };
  try {
    await Promise.all(items.map(run));
  } finally {
    signal.removeEventListener("abort", abort);
  }
  signal.throwIfAborted();
  if (failure !== undefined) throw (failure as { readonly error: unknown }).error;
}
