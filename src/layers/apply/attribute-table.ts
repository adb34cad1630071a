import { hash } from "node:crypto";
import { limitError } from "../layer-error.ts";
import type { InodeAttributes, Xattr } from "../layer-tree.ts";
import type { LayerLimits } from "../limits.ts";

/** Rough cost of one xattr beside its bytes, so that empty ones count too. */
const xattrOverheadBytes = 64;

/** Holds each combination of mode, owner and xattrs once. */
export class AttributeTable {
  readonly #limits: LayerLimits;
  readonly #indexes = new Map<string, number>();
  readonly #attributes: InodeAttributes[] = [];
  #xattrBytes = 0;
  #last = -1;

  constructor(limits: LayerLimits) {
    this.#limits = limits;
  }

  get(index: number): InodeAttributes {
    const attributes = this.#attributes[index];
    if (attributes === undefined) throw new RangeError(`there are no attributes ${index}`);
    return attributes;
  }

  /** The index of a combination. `xattrs` must be sorted; they are copied when new. Throws `LayerError` ("limit"). */
  intern(mode: number, uid: number, gid: number, xattrs: readonly Xattr[]): number {
    if (xattrs.length === 0 && this.#last >= 0) {
      const last = this.get(this.#last);
      if (last.mode === mode && last.uid === uid && last.gid === gid) return this.#last;
    }
    const key = `${mode},${uid},${gid}${xattrs.length === 0 ? "" : xattrKey(xattrs)}`;
    let index = this.#indexes.get(key);
    if (index === undefined) {
      index = this.#add({ mode, uid, gid, xattrs: xattrs.map(copyXattr) });
      this.#indexes.set(key, index);
    }
    if (xattrs.length === 0) this.#last = index;
    return index;
  }

  #add(attributes: InodeAttributes): number {
    if (this.#attributes.length >= this.#limits["layer-attributes"])
      throw limitError("layer-attributes", this.#limits["layer-attributes"], "the number of distinct attributes");
    for (const { name, value } of attributes.xattrs)
      this.#xattrBytes += name.length + value.length + xattrOverheadBytes;
    if (this.#xattrBytes > this.#limits["layer-xattr-bytes"])
      throw limitError("layer-xattr-bytes", this.#limits["layer-xattr-bytes"], "the size of all extended attributes");
    return this.#attributes.push(attributes) - 1;
  }
}

function xattrKey(xattrs: readonly Xattr[]): string {
  const parts: Uint8Array[] = [];
  for (const { name, value } of xattrs) parts.push(Buffer.from(`,${name.length}:${value.length}:`), name, value);
  return hash("sha256", Buffer.concat(parts), "base64");
}

/** Views of the input must not be kept: they would hold whole chunks of the stream. */
function copyXattr({ name, value }: Xattr): Xattr {
  return { name: new Uint8Array(name), value: new Uint8Array(value) };
}
