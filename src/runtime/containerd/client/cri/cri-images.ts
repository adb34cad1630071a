import type { Credential } from "../../../../oci/credentials/credential.ts";
import type { Channel } from "../channel.ts";
import type { CallOptions } from "../grpc-call.ts";
import { type Decoded, type Encodable, nested, nestedList, string } from "../message.ts";
import { authConfig, imageMessage, imageSpec, sandboxConfig } from "./cri-messages.ts";

const service = "runtime.v1.ImageService";

const status = {
  name: `${service}/ImageStatus`,
  request: { image: nested(1, imageSpec) },
  response: { image: nested(1, imageMessage) },
};
const list = { name: `${service}/ListImages`, request: {}, response: { images: nestedList(1, imageMessage) } };
const pull = {
  name: `${service}/PullImage`,
  request: { image: nested(1, imageSpec), auth: nested(2, authConfig), sandboxConfig: nested(3, sandboxConfig) },
  response: { imageRef: string(1) },
};
const remove = { name: `${service}/RemoveImage`, request: { image: nested(1, imageSpec) }, response: {} };

const fileSystemInfo = {
  name: `${service}/ImageFsInfo`,
  request: {},
  response: { imageFilesystems: nestedList(1, { fsId: nested(2, { mountpoint: string(1) }) }) },
};

/** For the comparison with the published API. */
export const criImageMethods = { status, list, pull, remove, fileSystemInfo };

/** An image as kubelet sees it. */
export type CriImage = {
  /** Digest of its config. */
  readonly id: string;
  readonly repoTags: readonly string[];
  readonly repoDigests: readonly string[];
  /** Compressed. */
  readonly sizeBytes: number;
  /** Kept from kubelet's garbage collection. */
  readonly isPinned: boolean;
};

export type PullOptions = CallOptions & { readonly credential?: Credential | undefined };

/** `runtime.v1.ImageService`. */
export type CriImageService = {
  /** `undefined` when there is no such image; `image` is a reference or an id. */
  status(image: string, options?: CallOptions): Promise<CriImage | undefined>;
  list(options?: CallOptions): Promise<CriImage[]>;
  /** As kubelet does it; the reference of what was pulled. May take long: default limit 15 minutes. */
  pull(image: string, options?: PullOptions): Promise<string>;
  /** All its names; an image that is not there is no error. */
  remove(image: string, options?: CallOptions): Promise<void>;
  /** Where images are kept: the root folder of the snapshotter, that of the default one first. */
  fileSystems(options?: CallOptions): Promise<string[]>;
};

export function criImageService(channel: Channel): CriImageService {
  return {
    async status(image, options) {
      const answer = await channel.call(status, { image: { image } }, options);
      return answer.image === undefined ? undefined : imageOf(answer.image);
    },
    async list(options) {
      return (await channel.call(list, {}, options)).images.map(imageOf);
    },
    async pull(image, { credential, ...options } = {}) {
      const request = { image: { image }, ...(credential && { auth: authOf(credential) }) };
      return (await channel.call(pull, request, { timeoutMs: 15 * 60_000, ...options })).imageRef;
    },
    async remove(image, options) {
      await channel.call(remove, { image: { image } }, options);
    },
    async fileSystems(options) {
      const { imageFilesystems } = await channel.call(fileSystemInfo, {}, options);
      return imageFilesystems.map(({ fsId }) => fsId?.mountpoint ?? "");
    },
  };
}

function authOf(credential: Credential): Encodable<typeof authConfig> {
  switch (credential.kind) {
    case "password":
      return { username: credential.username, password: credential.password };
    case "identity-token":
      return { identityToken: credential.token };
    case "registry-token":
      return { registryToken: credential.token };
  }
}

function imageOf({ id, repoTags, repoDigests, size, pinned }: Decoded<typeof imageMessage>): CriImage {
  return { id, repoTags, repoDigests, sizeBytes: size, isPinned: pinned };
}
