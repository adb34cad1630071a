import type { User } from "../../runtime/runtime.ts";
import type { DiskHolders } from "./disk-holders.ts";

/** Who holds which disk, for tests: nobody, unless told. */
export class MemoryDiskHolders implements DiskHolders {
  /** By path. */
  readonly users = new Map<string, readonly User[]>();

  async find(path: string): Promise<readonly User[]> {
    return this.users.get(path) ?? [];
  }
}
