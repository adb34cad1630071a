import type { Labels } from "../client/label.ts";

/**
 * Says from where a blob came, as pulls do: `containerd.io/distribution.source.<host without port>` is a list of repositories, by which pushes
 * and peers find it (containerd `core/remotes/docker/handler.go`, AppendDistributionSourceLabel). `repository`: `host/path`.
 */
export function sourceLabels(repository: string, known: Labels = {}): Labels {
  const slash = repository.indexOf("/");
  const host = repository
    .slice(0, slash)
    .replace(/:\d+$/, "")
    .replace(/^\[(.*)\]$/, "$1");
  const path = repository.slice(slash + 1);
  const key = `containerd.io/distribution.source.${host}`;
  const paths = (known[key] ?? "").split(",").filter((each) => each !== "");
  return { [key]: [...new Set([...paths, path])].sort().join(",") };
}
