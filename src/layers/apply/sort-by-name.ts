import type { EntryTable } from "./entry-table.ts";

/** Sorts siblings by the unsigned bytes of their names, in place. Cheap when they come sorted, or sorted backwards. */
export function sortByName(siblings: Uint32Array<ArrayBuffer>, entries: EntryTable): void {
  if (siblings.length < 2) return;
  const compare = (a: number, b: number) => compareNames(entries, a, b);
  let ascending = true;
  let descending = true;
  for (let i = 1; i < siblings.length && (ascending || descending); i++) {
    const order = compare(siblings[i - 1] as number, siblings[i] as number);
    if (order > 0) ascending = false;
    else descending = false;
  }
  if (ascending) return;
  if (descending) siblings.reverse();
  else siblings.sort(compare);
}

function compareNames(entries: EntryTable, a: number, b: number): number {
  const { names } = entries;
  let atA = entries.nameStart(a);
  let atB = entries.nameStart(b);
  const endA = entries.nameEnd(a);
  const endB = entries.nameEnd(b);
  while (atA < endA && atB < endB) {
    const difference = (names[atA++] as number) - (names[atB++] as number);
    if (difference !== 0) return difference;
  }
  return endA - atA - (endB - atB);
}
