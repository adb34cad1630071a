import type {
  DiskStatus,
  EjectOptions,
  EjectReport,
  InjectOptions,
  InjectReport,
  OpenDisk,
  Runtime,
} from "../runtime.ts";
import { type ContainerdNode, containerdName, openContainerdNode } from "./containerd-node.ts";

/** One namespace of a containerd. What a command does not need is not loaded. */
export class ContainerdRuntime implements Runtime {
  readonly name: string;
  readonly #node: ContainerdNode;

  /** Takes over `node`: `close` closes it. */
  constructor(node: ContainerdNode) {
    this.name = containerdName(node);
    this.#node = node;
  }

  /** Throws as `openContainerdNode`. */
  static async open(address: string, namespace: string): Promise<ContainerdRuntime> {
    return new ContainerdRuntime(await openContainerdNode(address, namespace));
  }

  async inject(disk: OpenDisk, options: InjectOptions): Promise<InjectReport> {
    const { injectDisk } = await import("./inject/inject-disk.ts");
    return injectDisk(this.#node, disk, options);
  }

  async eject(options: EjectOptions): Promise<EjectReport> {
    const { ejectDisks } = await import("./eject/eject-disks.ts");
    return ejectDisks(this.#node, options);
  }

  async status({ signal }: { readonly signal: AbortSignal }): Promise<readonly DiskStatus[]> {
    const { readStatus } = await import("./status/read-status.ts");
    return readStatus(this.#node, signal);
  }

  async close(): Promise<void> {
    await this.#node.close();
  }
}
