import { LayerError } from "../layer-error.ts";
import { fileType, type Xattr } from "../layer-tree.ts";
import { aclAfterChmod, aclAsGiven, aclKind } from "./posix-acl.ts";

/** Linux: XATTR_NAME_MAX, XATTR_SIZE_MAX. */
const maximumNameBytes = 255;
const maximumValueBytes = 65_536;

export type XattrFate =
  | "keep"
  /** `replaces`: one of that name that the inode has already goes too. */
  | { readonly what: string; readonly why: string; readonly replaces?: true };

const keptNamespaces = ["user.", "security."];
const accessAcl = "system.posix_acl_access";
const defaultAcl = "system.posix_acl_default";

/**
 * What becomes of an xattr of a tar entry on an inode of type `mode`, as containerd and Linux together decide it: kept, or dropped
 * with the reason. Throws `LayerError` where setting it fails and containerd gives up.
 */
export function xattrFate({ name, value }: Xattr, mode: number): XattrFate {
  const text = Buffer.from(name).toString("latin1");
  const type = mode & fileType.mask;
  if (text.startsWith("trusted.")) return { what: "trusted.* xattrs", why: "containerd does not set them" };
  if (name.length === 0 || name.length > maximumNameBytes) throw refused("an xattr's name is empty or too long");
  if (value.length > maximumValueBytes) throw refused(`xattr ${JSON.stringify(text)} exceeds 64 KiB`);
  const namespace = keptNamespaces.find((prefix) => text.startsWith(prefix));
  if (namespace !== undefined) {
    if (namespace === "user." && type !== fileType.regular && type !== fileType.directory)
      return { what: "user.* xattrs of links, devices and fifos", why: "Linux has them on files and directories only" };
    if (text === namespace) throw refused(`an xattr has no name after "${namespace}"`);
    if (text === "security.capability") checkCapability(value);
    return "keep";
  }
  if (text === accessAcl || text === defaultAcl) {
    if (type === fileType.symbolicLink) return { what: "ACLs of symbolic links", why: "Linux has none" };
    const kind = aclKind(value);
    if (kind === "invalid") throw refused(`its ${text} is malformed`);
    if (kind === "empty") return { what: "empty ACLs", why: "setting one means having none", replaces: true };
    if (text === defaultAcl && type !== fileType.directory) throw refused("a default ACL belongs to directories only");
    if (text === accessAcl && kind === "minimal")
      return { what: "ACLs that say no more than the mode", why: "Linux keeps only the mode", replaces: true };
    return "keep";
  }
  return { what: `${namespaceOf(text)} xattrs`, why: "Linux does not know the namespace" };
}

function refused(reason: string): LayerError {
  return new LayerError("refused-entry", reason);
}

function namespaceOf(name: string): string {
  const dot = name.indexOf(".");
  return dot < 0 || dot > 32 ? "other" : JSON.stringify(`${name.slice(0, dot + 1)}*`);
}

/** Linux `security/commoncap.c`, `cap_convert_nscap`: only revisions 2 (20 bytes) and 3 (24 bytes) may be set. */
function checkCapability(value: Uint8Array): void {
  const revision = value.length < 4 ? 0 : Buffer.from(value).readUInt32LE(0) & ~1;
  const isValid =
    (value.length === 20 && revision === 0x0200_0000) || (value.length === 24 && revision === 0x0300_0000);
  if (!isValid) throw refused("its security.capability is not of a form that Linux accepts");
}

/** Sorted by the bytes of the names; the later of two with one name wins. */
export function mergedXattrs(current: readonly Xattr[], added: readonly Xattr[]): readonly Xattr[] {
  if (added.length === 0) return current;
  const byName = new Map<string, Xattr>();
  for (const xattr of [...current, ...added]) byName.set(Buffer.from(xattr.name).toString("latin1"), xattr);
  return [...byName.values()].sort((a, b) => Buffer.compare(a.name, b.name));
}

/** `xattrs` as `chmod` to `mode` leaves them: it changes an access ACL. ACLs take the form in which Linux gives them out. */
export function xattrsAfterChmod(xattrs: readonly Xattr[], mode: number): readonly Xattr[] {
  if (!xattrs.some((xattr) => isNamed(xattr, accessAcl) || isNamed(xattr, defaultAcl))) return xattrs;
  return xattrs.map(({ name, value }) => {
    if (isNamed({ name, value }, accessAcl)) return { name, value: aclAfterChmod(value, mode) };
    return { name, value: isNamed({ name, value }, defaultAcl) ? aclAsGiven(value) : value };
  });
}

/** The default ACL among the xattrs of a directory. */
export function defaultAclOf(xattrs: readonly Xattr[]): Xattr | undefined {
  return xattrs.find((xattr) => isNamed(xattr, defaultAcl));
}

/** Whether an xattr is an ACL, and which. */
export function aclName(xattr: Xattr): "access" | "default" | undefined {
  return isNamed(xattr, accessAcl) ? "access" : isNamed(xattr, defaultAcl) ? "default" : undefined;
}

/** What a new file takes from a directory with a default ACL (`posix_acl_create`), once its mode is `mode`. */
export function inheritedXattrs(parent: readonly Xattr[], mode: number, isDirectory: boolean): readonly Xattr[] {
  const inherited = defaultAclOf(parent);
  if (inherited === undefined) return parent.length === 0 ? parent : [];
  const access = { name: Buffer.from(accessAcl), value: aclAfterChmod(inherited.value, mode) };
  return [...(aclKind(inherited.value) === "extended" ? [access] : []), ...(isDirectory ? [inherited] : [])];
}

/** Whether an xattr has this name. */
export function isNamed({ name }: Xattr, text: string): boolean {
  return name.length === text.length && Buffer.from(name).toString("latin1") === text;
}

/** `xattrs` as `chown` of anything but a directory leaves them: file capabilities are cleared. */
export function xattrsAfterChown(xattrs: readonly Xattr[]): readonly Xattr[] {
  return xattrs.filter((xattr) => !isNamed(xattr, "security.capability"));
}
