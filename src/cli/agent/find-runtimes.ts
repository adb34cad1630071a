import type { AgentSpec } from "../../agent/config/agent-config.ts";
import {
  type Candidate,
  discoverRuntimes,
  type FoundRuntime,
  type RuntimeRequest,
  usualSockets,
} from "../../runtime/discovery.ts";

/**
 * The runtimes that an agent keeps warm: those that the command line means, and with `docker.overlay2` a Docker with overlay2 too, unless a
 * socket or a kind of runtime is named. Throws `RuntimeError`.
 */
export async function findRuntimes(
  request: RuntimeRequest,
  { overlay2 }: AgentSpec["docker"],
  candidates: readonly Candidate[] = usualSockets,
): Promise<readonly FoundRuntime[]> {
  if (!overlay2 || request.runtime !== "auto" || request.address !== undefined)
    return discoverRuntimes(request, candidates);
  const found = await discoverRuntimes(request, candidates).catch(() => []);
  const docker = await discoverRuntimes({ runtime: "docker" }, candidates).catch((error) => {
    if (found.length > 0) return [];
    throw error;
  });
  const isNew = ({ address, kind }: FoundRuntime) =>
    !found.some((each) => each.address === address && each.kind === kind);
  return [...found, ...docker.filter(isNew)];
}
