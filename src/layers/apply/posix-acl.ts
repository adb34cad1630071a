/** Tags of ACL entries (Linux `include/uapi/linux/posix_acl.h`) in the order that they must have. */
const tag = { owner: 0x01, user: 0x02, owningGroup: 0x04, group: 0x08, mask: 0x10, other: 0x20 } as const;
const order: readonly number[] = Object.values(tag);
const undefinedId = 0xffff_ffff;
const headerBytes = 4;
const entryBytes = 8;

/**
 * How Linux (`fs/posix_acl.c`, `posix_acl_from_xattr`, `posix_acl_valid`, `posix_acl_equiv_mode`) takes the value of an ACL xattr:
 * version 2, then tag, permissions and id of each entry, in order.
 */
export function aclKind(value: Uint8Array): "invalid" | "empty" | "minimal" | "extended" {
  if (value.length === 0) return "empty";
  const view = viewOf(value);
  if (value.length < headerBytes || (value.length - headerBytes) % entryBytes !== 0) return "invalid";
  if (view.getUint32(0, true) !== 2) return "invalid";
  if (value.length === headerBytes) return "empty";
  const seen = new Set<number>();
  let rank = -1;
  for (let at = headerBytes; at < value.length; at += entryBytes) {
    const current = view.getUint16(at, true);
    const named = current === tag.user || current === tag.group;
    const next = order.indexOf(current);
    if (next < 0 || next < rank || (next === rank && !named) || view.getUint16(at + 2, true) > 7) return "invalid";
    if (named && view.getUint32(at + 4, true) === undefinedId) return "invalid";
    rank = next;
    seen.add(current);
  }
  if (!seen.has(tag.owner) || !seen.has(tag.owningGroup) || !seen.has(tag.other)) return "invalid";
  const named = seen.has(tag.user) || seen.has(tag.group);
  if (named && !seen.has(tag.mask)) return "invalid";
  return seen.size === 3 ? "minimal" : "extended";
}

/** An ACL as Linux gives it out: entries without a name have no id. */
export function aclAsGiven(value: Uint8Array): Uint8Array {
  const result = new Uint8Array(value);
  const view = viewOf(result);
  for (let at = headerBytes; at < result.length; at += entryBytes) {
    const current = view.getUint16(at, true);
    if (current !== tag.user && current !== tag.group) view.setUint32(at + 4, undefinedId, true);
  }
  return result;
}

/** An access ACL after `chmod`: its owner, its mask (else its owning group) and others take the bits of the mode. */
export function aclAfterChmod(value: Uint8Array, mode: number): Uint8Array {
  const result = aclAsGiven(value);
  const view = viewOf(result);
  let groupAt = 0;
  for (let at = headerBytes; at < result.length; at += entryBytes) {
    const current = view.getUint16(at, true);
    if (current === tag.owner) view.setUint16(at + 2, (mode >> 6) & 7, true);
    if (current === tag.other) view.setUint16(at + 2, mode & 7, true);
    if (current === tag.mask || (current === tag.owningGroup && groupAt === 0)) groupAt = at;
  }
  if (groupAt > 0) view.setUint16(groupAt + 2, (mode >> 3) & 7, true);
  return result;
}

function viewOf(value: Uint8Array): DataView {
  return new DataView(value.buffer, value.byteOffset, value.length);
}
