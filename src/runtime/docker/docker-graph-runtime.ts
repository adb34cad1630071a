import type {
  DiskStatus,
  EjectOptions,
  EjectReport,
  InjectOptions,
  InjectReport,
  OpenDisk,
  Runtime,
} from "../runtime.ts";
import { type DockerNode, dockerName, openDockerNode } from "./docker-node.ts";

const openTimeoutMs = 30_000;

/**
 * A Docker daemon with images of its own in the overlay2 graph driver. Ownership: an image is ours when its config has our key, a layer when its
 * `diff` is a link to a disk, a tag when the file beside that link lists it. What a command does not need is not loaded.
 */
export class DockerGraphRuntime implements Runtime {
  readonly name: string;
  readonly #node: DockerNode;

  /** Takes over `node`: `close` closes it. */
  constructor(node: DockerNode) {
    this.name = dockerName(node);
    this.#node = node;
  }

  async inject(disk: OpenDisk, options: InjectOptions): Promise<InjectReport> {
    const { injectDisk } = await import("./inject-disk.ts");
    return injectDisk(this.#node, disk, options);
  }

  async eject(options: EjectOptions): Promise<EjectReport> {
    const { ejectDisks } = await import("./eject-disks.ts");
    return ejectDisks(this.#node, options);
  }

  async status({ signal }: { readonly signal: AbortSignal }): Promise<readonly DiskStatus[]> {
    const { readStatus } = await import("./read-status.ts");
    return readStatus(this.#node, signal);
  }

  async close(): Promise<void> {
    await this.#node.close();
  }
}

/**
 * Opens the daemon on a socket, given as a path or a `unix://` URL. Throws `RuntimeError`: what the socket gives, `unimplemented` for
 * another image store than overlay2, with the way out; `HostError`.
 */
export async function openDockerGraph(address: string): Promise<DockerGraphRuntime> {
  return new DockerGraphRuntime(await openDockerNode(address, AbortSignal.timeout(openTimeoutMs)));
}
