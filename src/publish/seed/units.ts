import { nodeLayout } from "./node-layout.ts";

/** A file that an installation has, by its absolute path on the node. */
export type NodeFile = { readonly path: string; readonly text: string };

export const agentUnit = "nodewarm.service";

/** Units of container runtimes that may have images from disks: each mounts them again before it starts. */
export const runtimeUnits = [
  "containerd.service",
  "docker.service",
  "k3s.service",
  "k3s-agent.service",
  "rke2-server.service",
  "rke2-agent.service",
] as const;

export type RuntimeUnit = (typeof runtimeUnits)[number];

/** Those whose kubelet is a process of its own, which can wait for the agent. */
const runtimesBesideKubelet: readonly RuntimeUnit[] = ["containerd.service", "docker.service"];

const dropInName = "10-nodewarm.conf";

/**
 * The agent's unit. It comes after the runtime and before kubelet, and is ready when the gated images are warm. Nothing in it makes a mount
 * namespace (systemd.exec(5): ProtectSystem=, PrivateTmp= and their like do): disks are mounted where the runtime sees them. It neither
 * stops with the runtime nor waits for a network: images from a disk need none.
 */
export function agentUnitFile(): NodeFile {
  const text = `[Unit]
Description=Keeps container images warm on this node
After=local-fs.target ${runtimesBesideKubelet.join(" ")}
Before=kubelet.service

[Service]
Type=notify
ExecStart=${nodeLayout.program}/nodewarm agent --config ${nodeLayout.configuration}
TimeoutStartSec=infinity
TimeoutStopSec=30
Restart=always
RestartSec=2
# Freeing memory here would only make the node fetch again.
OOMScoreAdjust=-900

[Install]
WantedBy=multi-user.target
`;
  return { path: `${nodeLayout.units}/${agentUnit}`, text };
}

/** The "-" lets the runtime start whatever becomes of the disks; images from a disk that is away fail closed. */
export function dropInFile(unit: RuntimeUnit): NodeFile {
  const text = `[Service]
ExecStartPre=-${nodeLayout.program}/nodewarm mount --all
`;
  return { path: dropInPath(unit), text };
}

export function dropInPath(unit: RuntimeUnit): string {
  return `${nodeLayout.units}/${unit}.d/${dropInName}`;
}

/** What `systemctl enable` makes of the unit's [Install] section. */
export const enablingLink = {
  path: `${nodeLayout.units}/multi-user.target.wants/${agentUnit}`,
  target: `../${agentUnit}`,
} as const;
