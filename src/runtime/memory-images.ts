import { randomUUID } from "node:crypto";
import type { DiskIndex, IndexImage } from "../disk/reader/disk-index.ts";
import type { Digest } from "../oci/descriptor.ts";
import type { User } from "./runtime.ts";
import { RuntimeError } from "./runtime-error.ts";

/** `disk`: whose it is; `undefined` when it is the runtime's own. */
type Record = { digest: Digest; disk: string | undefined };
type Snapshot = { disk: string | undefined; tree: string; readonly isTop: boolean };
type Target = { disk: string | undefined; readonly image: IndexImage };
type Container = { readonly snapshot: string; readonly disk: string | undefined };

/** The images, snapshots and containers of a runtime in memory, and which disk each is from. */
export class MemoryImages {
  readonly #records = new Map<string, Record>();
  readonly #snapshots = new Map<string, Snapshot>();
  readonly #targets = new Map<Digest, Target>();
  readonly #containers = new Map<string, Container>();
  #changes = 0;

  /** How often something changed. */
  get changes(): number {
    return this.#changes;
  }

  /** False when it is there already, whoever brought it. */
  addTop(disk: string, image: IndexImage): boolean {
    const name = topOf(image);
    if (!this.#targets.has(image.target.digest)) this.#targets.set(image.target.digest, { disk, image });
    return (
      name !== undefined && image.tree !== null && this.#addSnapshot(name, { disk, tree: image.tree, isTop: true })
    );
  }

  addLayers(disk: string, image: IndexImage): void {
    for (const { chainID, tree } of image.layers.slice(0, -1)) this.#addSnapshot(chainID, { disk, tree, isTop: false });
  }

  missingLayers(image: IndexImage): number {
    return image.layers.slice(0, -1).filter(({ chainID }) => !this.#snapshots.has(chainID)).length;
  }

  /** Makes or moves a tag; false when it is as wanted. */
  record(disk: string, name: string, digest: Digest): boolean {
    if (this.#records.get(name)?.digest === digest) return false;
    this.#records.set(name, { digest, disk });
    this.#changes++;
    return true;
  }

  setTag(name: string, digest: Digest): void {
    this.#records.set(name, { digest, disk: undefined });
  }

  tag(name: string): Digest | undefined {
    return this.#records.get(name)?.digest;
  }

  ownerOf(name: string): string | undefined {
    return this.#records.get(name)?.disk;
  }

  /** What belongs to the disks `from` belongs to the first of `to` that has it too. */
  handOver(from: readonly string[], to: readonly DiskIndex[]): void {
    const isFrom = (disk: string | undefined) => disk !== undefined && from.includes(disk);
    for (const [name, snapshot] of this.#snapshots) {
      if (!isFrom(snapshot.disk)) continue;
      for (const index of to) {
        const tree = treeIn(index, name, snapshot.isTop);
        if (tree === undefined) continue;
        Object.assign(snapshot, { disk: index.id, tree });
        this.#changes++;
        break;
      }
    }
    const heirOf = (disk: string | undefined, digest: Digest) =>
      isFrom(disk) ? to.find(({ images }) => images.some(({ target }) => target.digest === digest)) : undefined;
    for (const record of this.#records.values()) {
      const heir = heirOf(record.disk, record.digest);
      if (heir !== undefined) record.disk = heir.id;
    }
    for (const [digest, target] of this.#targets) {
      const heir = heirOf(target.disk, digest);
      if (heir !== undefined) target.disk = heir.id;
    }
  }

  /** Disks that something belongs to, and that are none of `known`. */
  disksWithout(known: ReadonlyMap<string, unknown>): string[] {
    const all = [...this.#snapshots.values()].flatMap(({ disk }) => disk ?? []);
    return [...new Set(all)].filter((id) => !known.has(id));
  }

  /** Images that belong to a disk, with the names they have. */
  ofDisk({ id }: DiskIndex): { readonly image: IndexImage; readonly names: readonly string[] }[] {
    return [...this.#targets.values()].flatMap(({ disk, image }) => {
      const names = [...this.#records].flatMap(([name, { digest }]) => (digest === image.target.digest ? [name] : []));
      return disk === id ? [{ image, names: names.sort() }] : [];
    });
  }

  /** Containers that stand on snapshots of a disk which none of `heirs` has. */
  users(disk: string, heirs: readonly DiskIndex[] = []): User[] {
    return [...this.#containers].flatMap(([name, { snapshot }]): User[] => {
      const below = this.#snapshots.get(snapshot);
      if (below?.disk !== disk || heirs.some((heir) => treeIn(heir, snapshot, below.isTop))) return [];
      return [{ kind: "container", name }];
    });
  }

  /** Containers that were started from a disk: they keep it, whatever becomes of the snapshot that they stand on. */
  holders(disk: string): User[] {
    return [...this.#containers].flatMap(([name, container]): User[] =>
      container.disk === disk ? [{ kind: "container", name }] : [],
    );
  }

  /** Copies what containers stand on to the node. With their images it is the runtime's own from then on. */
  materialize(disk: string): { readonly name: string; readonly tree: string }[] {
    const used = new Set([...this.#containers.values()].map(({ snapshot }) => snapshot));
    const copied: { name: string; tree: string }[] = [];
    for (const [name, snapshot] of this.#snapshots) {
      if (snapshot.disk !== disk || !used.has(name)) continue;
      snapshot.disk = undefined;
      copied.push({ name, tree: snapshot.tree });
    }
    const names = new Set<string | undefined>(copied.map(({ name }) => name));
    for (const [digest, target] of this.#targets) {
      if (target.disk !== disk || !names.has(topOf(target.image))) continue;
      target.disk = undefined;
      for (const record of this.#records.values()) if (record.digest === digest) record.disk = undefined;
    }
    return copied;
  }

  /** Removes all that belongs to a disk; how many images those were. */
  removeDisk(disk: string): number {
    for (const [name, snapshot] of this.#snapshots) if (snapshot.disk === disk) this.#snapshots.delete(name);
    for (const [name, record] of this.#records) if (record.disk === disk) this.#records.delete(name);
    let removed = 0;
    for (const [digest, target] of this.#targets) {
      if (target.disk !== disk) continue;
      this.#targets.delete(digest);
      removed++;
    }
    return removed;
  }

  startContainer(image: string): string {
    const target = this.#targets.get(this.#records.get(image)?.digest ?? "sha256:");
    const snapshot = target && topOf(target.image);
    if (snapshot === undefined) throw new RuntimeError("not-found", `there is no image ${image}`);
    const id = randomUUID();
    this.#containers.set(id, { snapshot, disk: this.#snapshots.get(snapshot)?.disk });
    return id;
  }

  removeContainer(id: string): void {
    this.#containers.delete(id);
  }

  #addSnapshot(name: string, snapshot: Snapshot): boolean {
    if (this.#snapshots.has(name)) return false;
    this.#snapshots.set(name, snapshot);
    this.#changes++;
    return true;
  }
}

function topOf({ layers }: IndexImage): Digest | undefined {
  return layers.at(-1)?.chainID;
}

/** Folder of a disk that a snapshot can lead to: a merged tree for a top, a layer's for what is below. */
function treeIn({ images }: DiskIndex, chainID: string, isTop: boolean): string | undefined {
  for (const { tree, layers } of images) {
    if (isTop && layers.at(-1)?.chainID === chainID && tree !== null) return tree;
    const layer = isTop ? undefined : layers.find((each) => each.chainID === chainID);
    if (layer !== undefined) return layer.tree;
  }
  return undefined;
}
