import type { Digest } from "../../../oci/descriptor.ts";
import type { ResolvedImage } from "../../../oci/resolved-image.ts";
import type { FetchOptions } from "../../image-keeper.ts";
import type { NamespaceClient } from "../client/containerd-client.ts";
import type { ContainerdNode } from "../containerd-node.ts";
import type { FetchMeter } from "./fetch-meter.ts";

/** Called before each change, with what it is, and waited for; tests end the process there, or change something themselves. */
export type FetchStep = (step: string) => void | Promise<void>;

/** One fetch of an image under way. */
export type FetchJob = {
  readonly node: ContainerdNode;
  readonly image: ResolvedImage;
  /** `host/path`. */
  readonly repository: string;
  readonly options: FetchOptions;
  /** ChainIDs of the layers, bottom first. */
  readonly chain: readonly Digest[];
  /** Path of the spool. */
  readonly spool: string;
  readonly leaseID: string;
  /** The namespace, under that lease. */
  readonly leased: NamespaceClient;
  readonly meter: FetchMeter;
  readonly atStep: FetchStep;
};

/** The image in messages. */
export function imageName({ repository, image }: Pick<FetchJob, "repository" | "image">): string {
  return `${repository}@${image.target.digest}`;
}
