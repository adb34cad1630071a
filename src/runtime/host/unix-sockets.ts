import { readFile, realpath } from "node:fs/promises";

/**
 * What descriptors of the unix sockets at a path read as in `/proc/PID/fd` (`socket:[INODE]`): in the network namespace of this program, and in
 * that of the host's first process where it is to be seen. `/proc/PID/net/unix` (`net/unix/af_unix.c`, unix_seq_show): … Inode Path.
 */
export async function listeningSockets(path: string): Promise<ReadonlySet<string>> {
  const paths = new Set([path, await realpath(path).catch(() => path)]);
  const found = new Set<string>();
  for (const process of ["self", "1"]) {
    const table = await readFile(`/proc/${process}/net/unix`, "utf8").catch(() => "");
    for (const line of table.split("\n")) {
      const fields = line.trim().split(/ +/);
      if (paths.has(fields.slice(7).join(" ")) && fields[6] !== undefined) found.add(`socket:[${fields[6]}]`);
    }
  }
  return found;
}
