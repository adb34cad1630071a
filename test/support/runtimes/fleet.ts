import { dirname } from "node:path";
import { containerd24Binaries, containerd24Version } from "../containerd-2.4.ts";
import { needs } from "../privileges.ts";
import type { Scope } from "../temporary.ts";
import { type ContainerdDaemon, type ContainerdOptions, startContainerdDaemon } from "./containerd-daemon.ts";
import { findNewRunc, newErofsPrograms, programVersion, releasePrograms, type Suite } from "./programs.ts";

/** One version of containerd that the tests run, or why it is left out. */
export type ContainerdRuntime = {
  /** Such as `containerd 1.7.24`, for the names of tests. */
  readonly name: string;
  /** Such as `1.7.24`; the version that is expected where it cannot be had. */
  readonly version: string;
  readonly available: boolean;
  /** Why it cannot run here. */
  readonly reason: string | undefined;
  /** Starts one; it and all that it made is gone when the scope ends. Throws when it is not available. */
  start(scope: Scope, options?: ContainerdOptions): Promise<ContainerdDaemon>;
};

/** A release and the version that it is known to hold. sid moves on: what it holds then is taken and named. */
const debianVersions: readonly (readonly [Suite, string])[] = [
  ["bookworm", "1.6.20"],
  ["trixie", "1.7.24"],
  ["sid", "2.1.9"],
];

/**
 * containerd 1.6.20, 1.7.24 and 2.1.9 of Debian and 2.4.2 from the Go module proxy, oldest first. Downloads or builds what
 * the cache folder lacks, which takes minutes: `prepare-cache.ts` does so before the tests.
 */
export async function containerdRuntimes(): Promise<readonly ContainerdRuntime[]> {
  const skip = needs("busybox", "patchelf");
  const runtimes = debianVersions.map(async ([suite, expected]) => {
    if (skip) return missing(expected, skip);
    try {
      const folder = await releasePrograms(suite);
      return present(await programVersion(`${folder}/containerd`), folder);
    } catch (error) {
      return missing(expected, error instanceof Error ? error.message : String(error));
    }
  });
  return Promise.all([...runtimes, builtRuntime(skip)]);
}

/** What `skip` of a test that needs all of them says: `false`, or the reasons. */
export function reasonsToSkip(runtimes: readonly ContainerdRuntime[]): string | false {
  const reasons = runtimes.flatMap(({ name, reason }) => (reason === undefined ? [] : [`${name}: ${reason}`]));
  return reasons.length > 0 && reasons.join("; ");
}

/** 2.4.2 has no runc of its own; that of the newest release knows user namespaces. */
async function builtRuntime(skip: string | false): Promise<ContainerdRuntime> {
  if (skip) return missing(containerd24Version, skip);
  const folder = await containerd24Binaries();
  if (folder === undefined) return missing(containerd24Version, "there is no Go to build it with, or the build failed");
  const runc = await findNewRunc();
  return present(containerd24Version, folder, runc === undefined ? [] : [dirname(runc)]);
}

function present(version: string, binaries: string, path: readonly string[] = []): ContainerdRuntime {
  return {
    name: `containerd ${version}`,
    version,
    available: true,
    reason: undefined,
    async start(scope, options = {}) {
      const erofs = options.snapshotter === "erofs" ? [await newErofsPrograms()] : [];
      const folders = [...(options.path ?? []), ...erofs, binaries, ...path];
      return startContainerdDaemon(scope, version, binaries, { ...options, path: folders });
    },
  };
}

function missing(version: string, reason: string): ContainerdRuntime {
  return {
    name: `containerd ${version}`,
    version,
    available: false,
    reason,
    async start() {
      throw new Error(`containerd ${version} cannot run here: ${reason}`);
    },
  };
}
