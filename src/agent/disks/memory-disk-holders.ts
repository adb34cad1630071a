import type { User } from "../../runtime/runtime.ts";
import type { DiskHolders } from "./disk-holders.ts";

/** Who holds which disk, for tests: nobody, unless told. */
export class MemoryDiskHolders implements DiskHolders {
  /** By path. */
  readonly users = new Map<string, readonly User[]>();
  /** Paths of `find`, in order. */
  readonly asked: string[] = [];

  async find(path: string): Promise<readonly User[]> {
    this.asked.push(path);
    return this.users.get(path) ?? [];
  }
}
