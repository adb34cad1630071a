import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import type { Digest } from "../../../src/oci/descriptor.ts";
import { openDiskSource } from "../../../src/runtime/host/disk-source.ts";
import type {
  DiskStatus,
  EjectOptions,
  EjectReport,
  InjectOptions,
  InjectReport,
  OpenDisk,
  Runtime,
} from "../../../src/runtime/runtime.ts";
import { RuntimeError, type RuntimeErrorCode } from "../../../src/runtime/runtime-error.ts";
import { type InjectionImages, makeInjectionDisk, makeInjectionImages } from "../runtimes/injection.ts";
import type { Scope } from "../temporary.ts";

/** What the runtime itself does, without Nodewarm. */
export type Others = {
  /** Makes a container of an image, which stays until it is removed; its id. */
  startContainer(image: string): Promise<string>;
  removeContainer(id: string): Promise<void>;
  /** Sets a tag to an image that is not from a disk. */
  setTag(name: string, digest: Digest): Promise<void>;
  tag(name: string): Promise<Digest | undefined>;
};

/** An empty runtime. */
export type Setting = { readonly runtime: Runtime; readonly others: Others };

export const foreignDigest: Digest = `sha256:${"f".repeat(64)}`;

/** Two disks of one line: `newer` has the same base and other images under the same names. */
export type Disks = {
  readonly older: OpenDisk;
  readonly newer: OpenDisk;
  readonly images: { readonly older: InjectionImages; readonly newer: InjectionImages };
};

export async function makeDisks(scope: Scope): Promise<Disks> {
  const images = { older: await makeInjectionImages(scope, "1"), newer: await makeInjectionImages(scope, "2") };
  const line = `test-${randomUUID()}`;
  const openDisk = async (variant: InjectionImages, sequence: number) => {
    const { path } = await makeInjectionDisk(scope, variant, { line, sequence });
    const open = await openDiskSource(path);
    scope.defer(() => open.disk.close());
    return open;
  };
  return { older: await openDisk(images.older, 1), newer: await openDisk(images.newer, 2), images };
}

export const signal = new AbortController().signal;

export const inject = (runtime: Runtime, disk: OpenDisk, options: Partial<InjectOptions> = {}): Promise<InjectReport> =>
  runtime.inject(disk, { handlers: "all", force: false, chains: true, signal, ...options });

export const eject = (runtime: Runtime, options: Partial<EjectOptions> = {}): Promise<EjectReport> =>
  runtime.eject({ wait: false, materialize: false, signal, ...options });

/** What a report says of each image, by its first name. */
export const results = ({ images }: InjectReport) =>
  images.map(({ names, result, chain, conditions }) => [
    names[0],
    result,
    chain,
    ...conditions.map(({ type }) => type),
  ]);

/** Digests of the images of a status, ordered. */
export const digests = (status: DiskStatus | undefined) => status?.images.map(({ digest }) => digest).sort();

export const digestsOf = (...images: readonly { readonly manifest: { readonly digest: string } }[]) =>
  images.map(({ manifest }) => manifest.digest).sort();

/** For `assert.rejects`: the message has `words`. */
export const failsWith = (code: RuntimeErrorCode, words: string) => (error: unknown) => {
  assert.ok(error instanceof RuntimeError, String(error));
  assert.equal(error.code, code, error.message);
  assert.ok(error.message.includes(words), error.message);
  return true;
};

/** What the tests of the suite are given: disks that they share, and a runtime of their own each. */
export type World = { disks(): Disks; makeSetting(scope: Scope): Promise<Setting> };
