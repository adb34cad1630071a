import { goPrograms } from "./go-programs.ts";

export const containerd24Version = "2.4.2";

/**
 * Folder of containerd, shim and ctr of `containerd24Version`, built once from the Go module proxy (about three minutes) and
 * kept in the cache folder. Prints why and gives `undefined` where they cannot be built.
 */
export async function containerd24Binaries(): Promise<string | undefined> {
  const programs = ["containerd", "containerd-shim-runc-v2", "ctr"];
  const module = "github.com/containerd/containerd/v2";
  return goPrograms({
    what: `containerd ${containerd24Version}`,
    cacheName: `containerd-${containerd24Version}`,
    programs,
    build: (cwd) => ({
      words: ["install", ...programs.map((name) => `${module}/cmd/${name}@v${containerd24Version}`)],
      cwd,
    }),
  });
}
