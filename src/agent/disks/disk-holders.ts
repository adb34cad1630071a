import type { User } from "../../runtime/runtime.ts";

/** Says what keeps a disk from being detached. */
export interface DiskHolders {
  /** Those in any mount namespace that hold the file or block device of disk `id` at `path`; none when it may go. Throws `HostError`. */
  find(path: string, id: string): Promise<readonly User[]>;
}
