import { needs } from "../privileges.ts";
import type { Scope } from "../temporary.ts";
import { type ContainerdDaemon, startContainerdDaemon } from "./containerd-daemon.ts";
import { DockerDaemon, type DockerSettings, type DockerStore } from "./docker-daemon.ts";
import { programVersion, releasePrograms, type Suite } from "./programs.ts";

/** One version of Docker that the tests run, or why it is left out. */
export type DockerRuntime = {
  /** Such as `Docker 28.5.2`, for the names of tests. */
  readonly name: string;
  /** Such as `28.5.2`; the version that is expected where it cannot be had. */
  readonly version: string;
  readonly store: DockerStore;
  readonly available: boolean;
  /** Why it cannot run here. */
  readonly reason: string | undefined;
  /**
   * Starts one, on the containerd given or else on one that its release holds; it and all that it made is gone when the
   * scope ends. Throws when it is not available.
   */
  start(scope: Scope, options?: DockerOptions): Promise<DockerDaemon>;
};

export type DockerOptions = DockerSettings & {
  /** Must live as long as the Docker: start it within the same scope. */
  readonly containerd?: ContainerdDaemon;
  /** Default: that of the runtime. */
  readonly store?: DockerStore;
};

const debianVersions: readonly (readonly [Suite, string, DockerStore])[] = [
  ["bookworm", "20.10.24", "overlay2"],
  ["sid", "28.5.2", "containerd"],
];

/** Docker 20.10.24 with overlay2 and 28.5.2 with the containerd store, of Debian. Downloads what the cache folder lacks. */
export async function dockerRuntimes(): Promise<readonly DockerRuntime[]> {
  const skip = needs("busybox", "patchelf");
  return Promise.all(
    debianVersions.map(async ([suite, expected, store]) => {
      if (skip) return missing(expected, store, skip);
      try {
        const folder = await releasePrograms(suite);
        const [docker, containerd] = await Promise.all([
          programVersion(`${folder}/dockerd`),
          programVersion(`${folder}/containerd`),
        ]);
        return present(docker, store, folder, containerd);
      } catch (error) {
        return missing(expected, store, error instanceof Error ? error.message : String(error));
      }
    }),
  );
}

function present(version: string, store: DockerStore, binaries: string, containerdVersion: string): DockerRuntime {
  return {
    name: `Docker ${version}`,
    version,
    store,
    available: true,
    reason: undefined,
    async start(scope, options = {}) {
      const path = [binaries];
      const containerd =
        options.containerd ?? (await startContainerdDaemon(scope, containerdVersion, binaries, { path }));
      const daemon = new DockerDaemon(scope, version, binaries, options.store ?? store, containerd, options);
      await daemon.start();
      return daemon;
    },
  };
}

function missing(version: string, store: DockerStore, reason: string): DockerRuntime {
  return {
    name: `Docker ${version}`,
    version,
    store,
    available: false,
    reason,
    async start() {
      throw new Error(`Docker ${version} cannot run here: ${reason}`);
    },
  };
}
