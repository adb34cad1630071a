import { isUtf8 } from "node:buffer";

/** A path as a chain of names, so that deep trees cost no more than their names. */
export type Place = {
  readonly parent: Place | undefined;
  readonly name: Buffer;
  readonly depth: number;
};

export const rootPlace: Place = { parent: undefined, name: Buffer.alloc(0), depth: 0 };

const maxShownNames = 40;

export function placeInside(parent: Place, name: Buffer): Place {
  return { parent, name, depth: parent.depth + 1 };
}

/** As text from the root, at most 40 names of it. */
export function showPlace(place: Place): string {
  const names: string[] = [];
  let at = place;
  while (at.parent !== undefined) {
    if (names.length === maxShownNames) {
      names.push("…");
      break;
    }
    names.push(isUtf8(at.name) ? at.name.toString() : at.name.toString("latin1"));
    at = at.parent;
  }
  return `/${names.reverse().join("/")}`;
}
