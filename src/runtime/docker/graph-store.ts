import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { type Digest, digestHex, isDigest } from "../../oci/descriptor.ts";
import { errorCode } from "../host/system-calls.ts";
import { RuntimeError } from "../runtime-error.ts";
import { readIfExists } from "./durable-file.ts";

/** A read-only layer that the daemon knows. */
export type StoredLayer = {
  readonly chainID: Digest;
  /** Undefined for the lowest. */
  readonly parent: Digest | undefined;
  /** `overlay2/<cache-id>`, as this program reaches it. */
  readonly folder: string;
};

/** A writable layer: a container's, or one that a build has open. */
export type StoredMount = {
  /** Of the container, where it is one. */
  readonly id: string;
  /** ChainID of the image below; undefined for an image without layers. */
  readonly parent: Digest | undefined;
};

/**
 * The files of a Docker daemon with the overlay2 driver, read only (moby `layer/filestore.go`, `image/fs.go`): `image/overlay2/layerdb`
 * has what the API does not tell, which folder is which layer and what stands on it.
 */
export class GraphStore {
  /** The data root, as this program reaches it. */
  readonly root: string;

  constructor(root: string) {
    this.root = root;
  }

  /** Folder of a layer; `undefined` when the daemon does not have it. */
  async layerFolder(chainID: Digest): Promise<string | undefined> {
    const cacheID = await readIfExists(this.#layerdb("sha256", digestHex(chainID), "cache-id"));
    if (cacheID === undefined) return undefined;
    if (!/^[\w-]+$/.test(cacheID)) throw unreadable(this.#layerdb("sha256", digestHex(chainID), "cache-id"));
    return join(this.root, "overlay2", cacheID);
  }

  /** All, but those that the daemon adds or removes at this moment. */
  async layers(): Promise<StoredLayer[]> {
    const names = (await namesIn(this.#layerdb("sha256"))).filter((name) => /^[0-9a-f]{64}$/.test(name));
    const layers = await Promise.all(
      names.map(async (name): Promise<StoredLayer[]> => {
        const chainID: Digest = `sha256:${name}`;
        const folder = await this.layerFolder(chainID);
        if (folder === undefined) return [];
        return [{ chainID, folder, parent: await this.#digestIn("sha256", name, "parent") }];
      }),
    );
    return layers.flat();
  }

  async mounts(): Promise<StoredMount[]> {
    const ids = await namesIn(this.#layerdb("mounts"));
    return Promise.all(ids.map(async (id) => ({ id, parent: await this.#digestIn("mounts", id, "parent") })));
  }

  /** The config of an image, which its id is the digest of; `undefined` when it is gone. */
  async imageConfig(id: Digest): Promise<Buffer | undefined> {
    try {
      return await readFile(join(this.root, "image/overlay2/imagedb/content/sha256", digestHex(id)));
    } catch (error) {
      if (errorCode(error) === "ENOENT") return undefined;
      throw error;
    }
  }

  async #digestIn(...names: readonly string[]): Promise<Digest | undefined> {
    const path = this.#layerdb(...names);
    const text = await readIfExists(path);
    if (text === undefined || isDigest(text)) return text;
    throw unreadable(path);
  }

  #layerdb(...names: readonly string[]): string {
    return join(this.root, "image/overlay2/layerdb", ...names);
  }
}

async function namesIn(folder: string): Promise<string[]> {
  try {
    return await readdir(folder);
  } catch (error) {
    if (errorCode(error) === "ENOENT") return [];
    throw error;
  }
}

function unreadable(path: string): RuntimeError {
  return new RuntimeError("data-loss", `${path} does not hold what Docker writes there; check the data root of Docker`);
}
