import { closeSync } from "node:fs";
import { callHere } from "../../runtime/host/system-calls.ts";

/** include/linux/socket.h, include/linux/net.h. */
const familyUnix = 1;
const typeDatagram = 2;
const typeCloseOnExec = 0o2000000;
const flagsNoSignalDoNotWait = 0x4000 | 0x40;

/** Size of `sun_path` (include/uapi/linux/un.h). */
const maxPathBytes = 108;

/** One line in `systemctl status`. */
const maxStatusLength = 200;

/** Tells the service manager how the agent fares (sd_notify(3)): the protocol of `Type=notify`, which other managers speak too. */
export interface ServiceManager {
  /** Units that wait for the agent may start. */
  ready(): void;
  /** What `systemctl status` shows. */
  status(text: string): void;
  stopping(): void;
}

/**
 * The manager that `NOTIFY_SOCKET` names, or one that nobody hears. Telling never fails and never waits: a manager that is gone must not
 * stop the agent.
 */
export function serviceManager(environment: Readonly<Record<string, string | undefined>>): ServiceManager {
  const address = environment.NOTIFY_SOCKET;
  let last = "";
  const tell = (...lines: readonly string[]) => {
    if (address !== undefined) send(address, lines.join("\n"));
  };
  return {
    ready: () => tell("READY=1"),
    status(text) {
      const line = text.replace(/\p{Cc}+/gu, " ").slice(0, maxStatusLength);
      if (line !== last) tell(`STATUS=${line}`);
      last = line;
    },
    stopping: () => tell("STOPPING=1"),
  };
}

function send(address: string, text: string): void {
  try {
    const to = socketAddress(address);
    const socket = callHere("socket", familyUnix, typeDatagram | typeCloseOnExec, 0);
    try {
      const bytes = Buffer.from(text);
      callHere("sendto", socket, bytes, bytes.length, flagsNoSignalDoNotWait, to, to.length);
    } finally {
      closeSync(socket);
    }
  } catch {
    // See the contract.
  }
}

/** `sockaddr_un` (unix(7)); a leading `@` stands for the zero byte of an abstract name, whose length counts. */
function socketAddress(address: string): Buffer {
  const path = Buffer.from(address);
  if (path.length >= maxPathBytes) throw new RangeError(`NOTIFY_SOCKET is longer than ${maxPathBytes - 1} bytes`);
  if (path[0] === 0x40) path[0] = 0;
  const bytes = Buffer.alloc(2 + path.length + (path[0] === 0 ? 0 : 1));
  bytes.writeUInt16LE(familyUnix, 0);
  path.copy(bytes, 2);
  return bytes;
}
