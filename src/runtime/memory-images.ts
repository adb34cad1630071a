import { randomUUID } from "node:crypto";
import type { DiskIndex, IndexImage } from "../disk/reader/disk-index.ts";
import type { Digest } from "../oci/descriptor.ts";
import type { User } from "./runtime.ts";
import { RuntimeError } from "./runtime-error.ts";

/** `disk`: whose it is; `undefined` when it is the runtime's own. */
export type MemoryRecord = {
  digest: Digest;
  disk: string | undefined;
  /** Made by fetching, or moved for what was fetched. */
  isFetched: boolean;
  isPinned: boolean;
};
/** `parent`: where it stands on others; tops of disks do not. */
type Snapshot = { disk: string | undefined; tree: string; readonly isTop: boolean; readonly parent?: string };
type Target = { disk: string | undefined; isFetched: boolean; readonly image: MemoryImage };
type Container = { readonly snapshot: string; readonly disk: string | undefined };

/** What matters of an image here. */
export type MemoryImage = Pick<IndexImage, "target" | "tree"> & {
  readonly layers: readonly { readonly chainID: Digest; readonly tree: string }[];
};

/** The images, snapshots and containers of a runtime in memory, and which disk each is from. */
export class MemoryImages {
  /** False while the daemon is stopped. */
  isRunning = true;
  readonly #records = new Map<string, MemoryRecord>();
  readonly #snapshots = new Map<string, Snapshot>();
  readonly #targets = new Map<Digest, Target>();
  readonly #containers = new Map<string, Container>();
  readonly #away = new Set<string>();
  readonly #disks = new Map<string, DiskIndex>();
  readonly #listeners = new Set<(name: string | undefined) => void>();
  #changes = 0;

  /** How often something changed. */
  get changes(): number {
    return this.#changes;
  }

  get records(): ReadonlyMap<string, Readonly<MemoryRecord>> {
    return this.#records;
  }

  get targets(): ReadonlyMap<Digest, Readonly<Target>> {
    return this.#targets;
  }

  /** Calls with the name of each record that changes, without one for snapshots. What comes back ends that. */
  listen(listener: (name: string | undefined) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** False when it is there already, whoever brought it. */
  addTop(disk: string, image: IndexImage): boolean {
    const name = topOf(image);
    if (!this.#targets.has(image.target.digest))
      this.#targets.set(image.target.digest, { disk, isFetched: false, image });
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
    this.setRecord(name, { digest, disk, isFetched: false, isPinned: true });
    return true;
  }

  setTag(name: string, digest: Digest): void {
    this.setRecord(name, { digest, disk: undefined, isFetched: false, isPinned: false });
  }

  setRecord(name: string, record: Readonly<MemoryRecord>): void {
    this.#records.set(name, { ...record });
    this.#changed(name);
  }

  removeRecord(name: string): void {
    if (this.#records.delete(name)) this.#changed(name);
  }

  /** Gives the runtime an image of its own; layers that can be used stay as they are. */
  addOwn(image: MemoryImage, isFetched: boolean): void {
    const { digest } = image.target;
    const target = this.#targets.get(digest);
    if (target === undefined) this.#targets.set(digest, { disk: undefined, isFetched, image });
    else if (target.disk !== undefined && this.#away.has(target.disk)) {
      // Healed: it needs its disk no more.
      Object.assign(target, { disk: undefined, isFetched });
      for (const record of this.#records.values())
        if (record.digest === digest && record.disk !== undefined)
          Object.assign(record, { disk: undefined, isFetched });
    }
    let parent: { parent?: string } = {};
    for (const [i, { chainID, tree }] of image.layers.entries()) {
      if (!this.hasSnapshot(chainID))
        this.#snapshots.set(chainID, { disk: undefined, tree, isTop: i === image.layers.length - 1, ...parent });
      parent = { parent: chainID };
    }
    this.#changed(undefined);
  }

  /** Whether a container could use it: it is there, and so is the disk that it leads to. */
  hasSnapshot(chainID: string): boolean {
    const snapshot = this.#snapshots.get(chainID);
    return snapshot !== undefined && !(snapshot.disk !== undefined && this.#away.has(snapshot.disk));
  }

  isOnDisk(chainID: string): boolean {
    return this.#snapshots.get(chainID)?.disk !== undefined;
  }

  removeSnapshot(chainID: string): void {
    if (this.#snapshots.delete(chainID)) this.#changed(undefined);
  }

  /** Why no container of an image can start; empty when one can. */
  missing(digest: Digest): string {
    const target = this.#targets.get(digest);
    if (target === undefined) return "its manifest is not there";
    const top = topOf(target.image);
    if (top === undefined || this.hasSnapshot(top)) return "";
    const disk = this.#snapshots.get(top)?.disk;
    return disk === undefined ? `its snapshot ${top} is gone` : `disk ${disk} is not mounted`;
  }

  /** Containers whose snapshots stand on the top of an image. */
  usersOf(digest: Digest): User[] {
    const target = this.#targets.get(digest);
    const top = target && topOf(target.image);
    return [...this.#containers].flatMap(([name, { snapshot }]): User[] => {
      for (let at: string | undefined = snapshot; at !== undefined; at = this.#snapshots.get(at)?.parent)
        if (at === top) return [{ kind: "container", name }];
      return [];
    });
  }

  /** What is injected from now on comes from that disk. */
  mount(index: DiskIndex): void {
    this.#disks.set(index.id, index);
    this.setAway(index.id, false);
  }

  /** The other disks that are mounted, the newest first. */
  mountedBeside(disk: string): DiskIndex[] {
    const others = [...this.#disks.values()].filter(({ id }) => id !== disk && !this.#away.has(id));
    return others.sort((a, b) => b.sequence - a.sequence);
  }

  isAway(disk: string): boolean {
    return this.#away.has(disk);
  }

  /** As a device is pulled out, or comes back and is mounted. Nothing tells. */
  setAway(disk: string, isAway: boolean): void {
    if (isAway) this.#away.add(disk);
    else this.#away.delete(disk);
  }

  /** Removes what no record and no container needs. */
  collectGarbage(): void {
    const named = new Set([...this.#records.values()].map(({ digest }) => digest));
    for (const digest of this.#targets.keys()) if (!named.has(digest)) this.#targets.delete(digest);
    const needed = new Set<string>();
    for (const { image } of this.#targets.values()) for (const { chainID } of image.layers) needed.add(chainID);
    for (const { snapshot } of this.#containers.values())
      for (let at: string | undefined = snapshot; at !== undefined; at = this.#snapshots.get(at)?.parent)
        needed.add(at);
    for (const name of this.#snapshots.keys()) if (!needed.has(name)) this.removeSnapshot(name);
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
        this.#changed(undefined);
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
  ofDisk({ id, images }: DiskIndex): { readonly image: IndexImage; readonly names: readonly string[] }[] {
    return images.flatMap((image) => {
      const names = [...this.#records].flatMap(([name, { digest }]) => (digest === image.target.digest ? [name] : []));
      return this.#targets.get(image.target.digest)?.disk === id ? [{ image, names: names.sort() }] : [];
    });
  }

  /** Containers, and images whose records are not the disk's, that stand on snapshots of a disk which none of `heirs` has. */
  users(disk: string, heirs: readonly DiskIndex[] = []): User[] {
    const isNeeded = (name: string) => {
      const snapshot = this.#snapshots.get(name);
      return snapshot?.disk === disk && !heirs.some((heir) => treeIn(heir, name, snapshot.isTop));
    };
    const containers = [...this.#containers].flatMap(([name, { snapshot }]): User[] =>
      isNeeded(snapshot) ? [{ kind: "container", name }] : [],
    );
    const images = [...this.#imagesBeside(disk)].flatMap(([name, snapshots]): User[] =>
      snapshots.some(isNeeded) ? [{ kind: "image", name }] : [],
    );
    return [...containers, ...images];
  }

  /** Names that go on when a disk goes, with the snapshots that their images stand on. */
  *#imagesBeside(disk: string): Generator<readonly [name: string, snapshots: readonly string[]]> {
    for (const [name, record] of this.#records) {
      const target = record.disk === disk ? undefined : this.#targets.get(record.digest);
      if (target === undefined) continue;
      const snapshots: string[] = [];
      for (let at: string | undefined = topOf(target.image); at !== undefined; at = this.#snapshots.get(at)?.parent)
        snapshots.push(at);
      yield [name, snapshots];
    }
  }

  /** Containers that were started from a disk: they keep it, whatever becomes of the snapshot that they stand on. */
  holders(disk: string): User[] {
    return [...this.#containers].flatMap(([name, container]): User[] =>
      container.disk === disk ? [{ kind: "container", name }] : [],
    );
  }

  /** Copies what containers and others' images stand on to the node. With their images it is the runtime's own from then on. */
  materialize(disk: string): { readonly name: string; readonly tree: string }[] {
    const used = new Set<string>([...this.#containers.values()].map(({ snapshot }) => snapshot));
    for (const [, snapshots] of this.#imagesBeside(disk)) for (const name of snapshots) used.add(name);
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
    this.#disks.delete(disk);
    for (const [name, snapshot] of this.#snapshots) if (snapshot.disk === disk) this.removeSnapshot(name);
    for (const [name, record] of this.#records) if (record.disk === disk) this.removeRecord(name);
    let removed = 0;
    for (const [digest, target] of this.#targets) {
      if (target.disk !== disk) continue;
      this.#targets.delete(digest);
      removed++;
    }
    return removed;
  }

  startContainer(image: string): string {
    const digest = this.#records.get(image)?.digest ?? "sha256:";
    const target = this.#targets.get(digest);
    const missing = target && this.missing(digest);
    if (missing) throw new RuntimeError("failed-precondition", `${image} cannot be started: ${missing}`);
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
    this.#changed(undefined);
    return true;
  }

  #changed(name: string | undefined): void {
    this.#changes++;
    for (const listener of this.#listeners) listener(name);
  }
}

function topOf({ layers }: MemoryImage): Digest | undefined {
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
