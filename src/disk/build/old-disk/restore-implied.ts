import { isOverlayXattr } from "../../../filesystem/whiteouts.ts";
import { fileType, type InodeAttributes, type LayerTree, packNumbers } from "../../../layers/layer-tree.ts";
import { DiskError } from "../../disk-error.ts";

/** `tree` with directories `implied` as they are before any layer below gives them mode, owner and xattrs. */
export function withImpliedDirectories(tree: LayerTree, implied: readonly number[]): LayerTree {
  if (implied.length === 0) return tree;
  const attributes: InodeAttributes[] = [...tree.attributes];
  const attribute = Uint32Array.from(tree.attribute);
  for (const directory of implied) {
    if (directory === 0 || directory >= tree.directoryCount)
      throw new DiskError(
        "corrupt",
        `the index of the older disk names an implied directory ${directory} that its layer lacks`,
      );
    const { xattrs } = tree.attributes[tree.attribute[directory]];
    tree.payload[directory] = 1;
    attribute[directory] = attributes.length;
    // The opaque mark is the layer's own.
    attributes.push({ mode: fileType.directory | 0o755, uid: 0, gid: 0, xattrs: xattrs.filter(isOverlayXattr) });
  }
  return { ...tree, attribute: packNumbers(attribute), attributes, impliedDirectoryCount: implied.length };
}
