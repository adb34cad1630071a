/** Labels of containerd's records. Key and value together have at most 4,096 bytes (containerd `pkg/labels/validate.go`). */
export type Labels = Readonly<Record<string, string>>;

/**
 * A change of single labels: those with a value are set, those with `undefined` are removed, all others stay.
 */
export type LabelChange = Readonly<Record<string, string | undefined>>;

/** What an Update call needs for a change: the new values, and the paths that it is about (a path without a value is removed). */
export function labelUpdate(change: LabelChange): { labels: Labels; paths: string[] } {
  const entries = Object.entries(change);
  const values = entries.filter((entry): entry is [string, string] => entry[1] !== undefined);
  return { labels: Object.fromEntries(values), paths: entries.map(([key]) => `labels.${key}`) };
}
