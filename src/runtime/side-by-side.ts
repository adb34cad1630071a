/** Calls under way at once: containerd gains by some, and by no more than these. */
const callsAtOnce = 8;

/** Does `work` for all items, some at once. When one fails no more are begun, those under way are waited for, and its error is thrown. */
export async function sideBySide<Item>(items: readonly Item[], work: (item: Item) => Promise<unknown>): Promise<void> {
  let next = 0;
  let failure: { readonly error: unknown } | undefined;
  const run = async (): Promise<void> => {
    while (next < items.length && failure === undefined) {
      const item = items[next++] as Item;
      try {
        await work(item);
      } catch (error) {
        failure ??= { error };
      }
    }
  };
  await Promise.all(Array.from({ length: Math.min(callsAtOnce, items.length) }, run));
  if (failure !== undefined) throw (failure as { readonly error: unknown }).error;
}

/** Waits for all, also when one fails: none goes on under a lease or lock that has been given up meanwhile. Then throws the first error. */
export async function allOf<const Works extends readonly unknown[]>(
  works: Works,
): Promise<{ -readonly [Index in keyof Works]: Awaited<Works[Index]> }> {
  await Promise.allSettled(works);
  return Promise.all(works);
}
