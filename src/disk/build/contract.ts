import type { Digest, Platform } from "../../oci/descriptor.ts";
import type { ResolvedImage } from "../../oci/resolved-image.ts";
import type { OldDisk } from "./old-disk/old-disk.ts";

export type BuildOptions = {
  /** Images of one platform. */
  readonly images: readonly ResolvedImage[];
  readonly platform: Platform;
  /** Path of the disk; appears only when it is complete. */
  readonly output: string;
  /** Also store the layers' compressed blobs. */
  readonly blobs: boolean;
  /** Also store each layer as an EROFS image of its own. */
  readonly erofsCache: boolean;
  /** An older disk whose layers are reused, opened for this build alone and under `signal`; may be what lies at `output`. It is not closed. */
  readonly from: OldDisk | undefined;
  readonly line: string;
  /** Default: `created` as Unix seconds. */
  readonly sequence: number | undefined;
  /** SOURCE_DATE_EPOCH; default: the newest `created` of the image configs, else 0. */
  readonly createdSeconds: number | undefined;
  /** Values by limit name; defaults for the rest. */
  readonly limits: Readonly<Record<string, number>>;
  /** Layers read at once, at least 1. Where it is more, builds of up to 32 MiB read at least 4, all in one thread. */
  readonly jobs: number;
  /** Recorded in the index, such as `nodewarm/0.1.0`. */
  readonly builder: string;
  readonly signal: AbortSignal;
  readonly onEvent?: (event: BuildEvent) => void;
};

export type BuildPhase = "layers" | "metadata" | "sync";

export type BuildEvent =
  | { readonly type: "phase"; readonly phase: BuildPhase }
  /** `sizeBytes`: compressed size; `reused`: taken from the older disk. */
  | {
      readonly type: "layer-start";
      readonly diffID: Digest;
      readonly image: string;
      readonly sizeBytes: number;
      readonly reused: boolean;
    }
  /** `bytes`: read so far, of `sizeBytes`. */
  | { readonly type: "layer-progress"; readonly diffID: Digest; readonly bytes: number }
  | { readonly type: "layer-end"; readonly diffID: Digest };

export type BuildReport = {
  readonly path: string;
  readonly id: string;
  readonly line: string;
  readonly sequence: number;
  readonly created: string;
  readonly platform: Platform;
  readonly sizeBytes: number;
  readonly images: number;
  /** Distinct layers. */
  readonly layers: number;
  /** Entries of all layer trees. */
  readonly entries: number;
  /** Distinct file contents. */
  readonly files: number;
  readonly bytes: {
    /** Compressed bytes of layers that were fetched. */
    readonly fetched: number;
    /** Compressed size of the layers taken from the older disk. */
    readonly reused: number;
    /** File bytes of all layer trees that did not have to be stored again. */
    readonly deduplicated: number;
    /** Distinct file contents, each rounded up to whole blocks. */
    readonly contents: number;
    readonly blobs: number;
    readonly layerImages: number;
    readonly metadata: number;
  };
  /** What the layers had that a disk cannot or must not hold. */
  readonly dropped: readonly { readonly what: string; readonly why: string; readonly count: number }[];
  readonly seconds: {
    readonly layers: number;
    readonly metadata: number;
    readonly sync: number;
    readonly total: number;
  };
};
