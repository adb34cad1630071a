/** Where Nodewarm's files are on a node. Absolute paths, as the node sees them. */
export const nodeLayout = {
  /** The program: the bundle, with Node. */
  program: "/opt/nodewarm",
  /** On the PATH of people: a link to the program. */
  command: "/usr/local/bin/nodewarm",
  /** Image sets and the agent's configuration; written by people. */
  configuration: "/etc/nodewarm",
  disks: "/var/lib/nodewarm/disks",
  state: "/var/lib/nodewarm/state",
  /** All that is Nodewarm's own and changes. */
  variable: "/var/lib/nodewarm",
  /** Mounts, socket; gone after a reboot. */
  runtime: "/run/nodewarm",
  socket: "/run/nodewarm/agent.sock",
  units: "/etc/systemd/system",
} as const;
