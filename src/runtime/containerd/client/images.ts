import { type Descriptor, isDigest } from "../../../oci/descriptor.ts";
import { RuntimeError } from "../../runtime-error.ts";
import type { Channel } from "./channel.ts";
import { digestOf } from "./digest-field.ts";
import type { CallOptions } from "./grpc-call.ts";
import { type LabelChange, type Labels, labelUpdate } from "./label.ts";
import { bool, type Decoded, type Encodable, labels, nested, nestedList, string, strings } from "./message.ts";
import { dateOf, descriptorMessage, empty, fieldMask, nestedTimestamp } from "./well-known.ts";

const service = "containerd.services.images.v1.Images";

const imageMessage = {
  name: string(1),
  labels: labels(2),
  target: nested(3, descriptorMessage),
  createdAt: nestedTimestamp(7),
  updatedAt: nestedTimestamp(8),
};
const oneImage = { image: nested(1, imageMessage) };

const get = { name: `${service}/Get`, request: { name: string(1) }, response: oneImage };
const list = {
  name: `${service}/List`,
  request: { filters: strings(1) },
  response: { images: nestedList(1, imageMessage) },
};
const create = { name: `${service}/Create`, request: oneImage, response: oneImage };
const update = {
  name: `${service}/Update`,
  request: { image: nested(1, imageMessage), updateMask: nested(2, fieldMask) },
  response: oneImage,
};
const remove = { name: `${service}/Delete`, request: { name: string(1), sync: bool(2) }, response: empty };

/** For the comparison with the published API. */
export const imageMethods = { get, list, create, update, remove };

export type NewImage = {
  readonly name: string;
  readonly target: Descriptor;
  readonly labels?: Labels;
};

/** An image record: a name for an index or manifest. */
export type Image = Required<NewImage> & {
  readonly createdAt: Date | undefined;
  readonly updatedAt: Date | undefined;
};

/** What to change; all else stays. */
export type ImageChange = {
  readonly target?: Descriptor;
  readonly labels?: LabelChange;
};

export type ImageDeletion = CallOptions & {
  /** Answers when the garbage collection that follows is over. Default: false. */
  readonly sync?: boolean;
};

export type ImageService = {
  /** Throws `not-found`. */
  get(name: string, options?: CallOptions): Promise<Image>;
  /** All, or those that one of the filters matches, such as `name==docker.io/library/alpine:3`. Only targets with SHA-256. */
  list(filters?: readonly string[], options?: CallOptions): Promise<Image[]>;
  /** Throws `already-exists`. The target need not be in the content store. */
  create(image: NewImage, options?: CallOptions): Promise<Image>;
  /** Throws `not-found`. */
  update(name: string, change: ImageChange, options?: CallOptions): Promise<Image>;
  /** Throws `not-found`. */
  delete(name: string, options?: ImageDeletion): Promise<void>;
};

export function imageService(channel: Channel): ImageService {
  const getImage: ImageService["get"] = async (name, options) =>
    requiredImage((await channel.call(get, { name }, options)).image, name);
  return {
    get: getImage,
    async list(filters = [], options) {
      const { images } = await channel.call(list, { filters }, options);
      return images.filter(({ target }) => target !== undefined && isDigest(target.digest)).map(imageOf);
    },
    async create({ name, target, labels: newLabels = {} }, options) {
      const image = { name, labels: newLabels, target: targetMessage(target) };
      return requiredImage((await channel.call(create, { image }, options)).image, name);
    },
    async update(name, { target, labels: change = {} }, options) {
      const { labels: newLabels, paths } = labelUpdate(change);
      // containerd from 1.7 on crashes when the target is left out; without its path the empty one is not looked at.
      const image = { name, labels: newLabels, target: target === undefined ? {} : targetMessage(target) };
      const updateMask = { paths: target === undefined ? paths : [...paths, "target"] };
      // Without a path, containerd replaces the whole record.
      if (updateMask.paths.length === 0) return getImage(name, options);
      return requiredImage((await channel.call(update, { image, updateMask }, options)).image, name);
    },
    async delete(name, { sync = false, ...options } = {}) {
      await channel.call(remove, { name, sync }, options);
    },
  };
}

function targetMessage({ mediaType, digest, size, annotations }: Descriptor): Encodable<typeof descriptorMessage> {
  return { mediaType, digest, size, annotations };
}

function requiredImage(image: Decoded<typeof imageMessage> | undefined, name: string): Image {
  if (image === undefined) throw new RuntimeError("internal", `containerd answered without the image ${name}`);
  return imageOf(image);
}

function imageOf(image: Decoded<typeof imageMessage>): Image {
  const { mediaType = "", digest = "", size = 0, annotations = {} } = image.target ?? {};
  const target = { mediaType, digest: digestOf(digest), size };
  return {
    name: image.name,
    target: Object.keys(annotations).length === 0 ? target : { ...target, annotations },
    labels: image.labels,
    createdAt: dateOf(image.createdAt),
    updatedAt: dateOf(image.updatedAt),
  };
}
