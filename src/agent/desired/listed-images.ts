import type { ImageSet } from "../../kubernetes/image-set.ts";
import { durationMs, quantityBytes } from "../../kubernetes/quantities.ts";
import { imageName, parseReference, type Reference } from "../../oci/reference.ts";
import type { Condition } from "../../runtime/runtime.ts";
import { selects } from "./selector.ts";

/** What all image sets together say of one normalised name. */
export type ListedImage = {
  /** Normalised: with a tag, or `repository@digest`. */
  readonly name: string;
  readonly reference: Reference;
  readonly gate: boolean;
  readonly priority: number;
  /** Milliseconds between two looks at the registry. */
  readonly refresh: number | "Never";
  /** Names of the sets that list it. */
  readonly sets: readonly string[];
};

/** An image set as this node takes it. */
export type NodeSet = {
  readonly name: string;
  /** Whether it is for this node. */
  readonly isSelected: boolean;
  /** Normalised names; none when it is not for this node. */
  readonly images: readonly string[];
  /** Those that it gates itself. */
  readonly gated: readonly string[];
  readonly gateTimeoutMs: number;
  readonly onTimeout: "Open" | "Closed";
  readonly parallelism: number;
  readonly bytesPerSecond: number | undefined;
  readonly conditions: readonly Condition[];
};

/**
 * Merges the sets that are for a node with these labels. Of one name, gate is or, the highest priority counts, the shortest interval, and
 * `Never` only where all say so. In the order in which they are to be made warm: gated first, then by priority, then as listed.
 */
export function listImages(
  sets: readonly ImageSet[],
  labels: Readonly<Record<string, string>>,
): { readonly images: readonly ListedImage[]; readonly sets: readonly NodeSet[] } {
  const merged = new Map<string, ListedImage>();
  const nodeSets = sets.map((set): NodeSet => {
    const isSelected = selects(set.spec.nodeSelector, labels);
    const own = isSelected ? set.spec.images.map((image) => listedImage(image, set.metadata.name)) : [];
    for (const image of own) {
      const before = merged.get(image.name);
      merged.set(image.name, before === undefined ? image : mergeImages(before, image));
    }
    const { gateTimeout, onTimeout, parallelism, bandwidth } = set.spec;
    return {
      name: set.metadata.name,
      isSelected,
      images: [...new Set(own.map(({ name }) => name))],
      gated: [...new Set(own.flatMap(({ name, gate }) => (gate ? [name] : [])))],
      gateTimeoutMs: durationMs(gateTimeout),
      onTimeout,
      parallelism,
      bytesPerSecond: bandwidth === undefined ? undefined : quantityBytes(bandwidth),
      conditions: unsupported(set),
    };
  });
  return { images: [...merged.values()].sort(byUrgency), sets: nodeSets };
}

/** Array sort is stable: equal ones stay as listed. */
export function byUrgency(
  a: Pick<ListedImage, "gate" | "priority">,
  b: Pick<ListedImage, "gate" | "priority">,
): number {
  return Number(b.gate) - Number(a.gate) || b.priority - a.priority;
}

function listedImage({ ref, gate, priority, refresh }: ImageSet["spec"]["images"][number], set: string): ListedImage {
  const reference = parseReference(ref);
  const isFixed = reference.digest !== undefined || refresh === "Never";
  return {
    name: imageName(reference),
    reference,
    gate,
    priority,
    refresh: isFixed ? "Never" : durationMs(refresh.interval),
    sets: [set],
  };
}

function mergeImages(a: ListedImage, b: ListedImage): ListedImage {
  const intervals = [a.refresh, b.refresh].filter((refresh) => refresh !== "Never");
  return {
    ...a,
    gate: a.gate || b.gate,
    priority: Math.max(a.priority, b.priority),
    refresh: intervals.length === 0 ? "Never" : Math.min(...intervals),
    sets: [...new Set([...a.sets, ...b.sets])],
  };
}

function unsupported({ spec }: ImageSet): Condition[] {
  const inClusters: readonly (readonly [isUsed: boolean, field: string, instead: string])[] = [
    [spec.pullSecrets.length > 0, "pullSecrets", "give credentials in AgentConfig, spec.registries"],
    [spec.disks.length > 0, "disks", "put disks into a folder of AgentConfig, spec.disks.folders"],
    [spec.discover !== undefined, "discover", "list the images"],
  ];
  return inClusters.flatMap(([isUsed, field, instead]) =>
    isUsed ? [{ type: "Unsupported", message: `spec.${field} works in a cluster only; ${instead}` }] : [],
  );
}
