import type { LayerTree } from "../../../layers/layer-tree.ts";
import type { Descriptor, Digest } from "../../../oci/descriptor.ts";
import type { ContentStore } from "../contents/content-store.ts";
import type { PartialFile } from "../partial-file.ts";

/** A layer of the older disk. */
export interface OldLayer {
  /** Its tree; stores those of its contents that the new disk lacks, each checked against its digest. */
  read(contents: ContentStore, signal: AbortSignal): Promise<LayerTree>;
}

/** The disk that `--from` names. */
export class OldDisk {
  static async open(_path: string, _signal: AbortSignal): Promise<OldDisk> {
    return new OldDisk();
  }
  layer(_diffID: Digest): OldLayer | undefined {
    return undefined;
  }
  async copyBlob(
    _descriptor: Descriptor,
    _file: PartialFile,
    _position: number,
    _signal: AbortSignal,
  ): Promise<boolean> {
    return false;
  }
  async close(): Promise<void> {}
}
