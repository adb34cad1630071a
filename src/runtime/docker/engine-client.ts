import type { Credential } from "../../oci/credentials/credential.ts";
import { type Digest, isDigest } from "../../oci/descriptor.ts";
import {
  anything,
  array,
  boolean,
  number,
  object,
  orAbsent,
  readShape,
  type Shape,
  type Shaped,
  string,
  stringThat,
} from "../../oci/json-shape.ts";
import { formatReference, parseReference } from "../../oci/reference.ts";
import { RuntimeError } from "../runtime-error.ts";
import { EngineConnection } from "./engine-connection.ts";

const digest = stringThat(isDigest, "a digest");

const info = object({
  Driver: string,
  DriverStatus: orAbsent(array(anything)),
  DockerRootDir: stringThat((text): text is `/${string}` => text.startsWith("/"), "an absolute path"),
  ServerVersion: string,
  OSType: string,
  Architecture: string,
  SecurityOptions: orAbsent(array(string)),
});
const imageList = array(
  object({
    Id: digest,
    RepoTags: orAbsent(array(string)),
    RepoDigests: orAbsent(array(string)),
    Created: orAbsent(number),
  }),
);
const containerList = array(
  object({ Id: string, ImageID: orAbsent(string), Names: orAbsent(array(string)), State: string }),
);
const container = object({ State: object({ Running: boolean, StartedAt: string }) });
const lateFailure = object({ errorDetail: object({ message: string }) });

/** `GET /info`, as far as it matters here. */
export type EngineInfo = Shaped<typeof info>;

export type EngineImage = {
  readonly id: Digest;
  /** Normalised: `docker.io/library/nginx:1.25`. */
  readonly tags: readonly string[];
  /** By which it was pulled: `docker.io/library/nginx@sha256:…`. */
  readonly digests: readonly string[];
  /** When it was made, Unix seconds; not above 0 where nobody knows. */
  readonly createdSeconds: number;
};

export type EngineContainer = {
  readonly id: string;
  /** Id of its image. */
  readonly image: string;
  readonly name: string;
  readonly isRunning: boolean;
};

/**
 * The calls of a Docker daemon that injection needs; paths without a version, so that each daemon takes them (Docker Engine API 1.41
 * to 1.51). All throw `RuntimeError`, or the reason of the signal.
 */
export class EngineClient {
  readonly #connection: EngineConnection;

  constructor(address: string) {
    this.#connection = new EngineConnection(address);
  }

  get address(): string {
    return this.#connection.address;
  }

  info(signal: AbortSignal): Promise<EngineInfo> {
    return this.#get("/info", info, signal);
  }

  /** All, untagged ones too. */
  async images(signal: AbortSignal): Promise<EngineImage[]> {
    const list = await this.#get("/images/json?all=1", imageList, signal);
    const names = (all: readonly string[] | undefined) => (all ?? []).filter((name) => !isNone(name)).map(normalised);
    return list.map(({ Id, RepoTags, RepoDigests, Created }) => ({
      id: Id,
      createdSeconds: Created ?? 0,
      tags: names(RepoTags),
      digests: names(RepoDigests),
    }));
  }

  /** All, stopped ones too. */
  async containers(signal: AbortSignal): Promise<EngineContainer[]> {
    const list = await this.#get("/containers/json?all=1", containerList, signal);
    return list.map(({ Id, ImageID, Names, State }) => ({
      id: Id,
      image: ImageID ?? "",
      name: Names?.[0]?.replace(/^\//, "") ?? Id.slice(0, 12),
      isRunning: State === "running" || State === "paused",
    }));
  }

  /** When a container was last started; `undefined` when it does not run or is gone. */
  async runningSince(id: string, signal: AbortSignal): Promise<string | undefined> {
    try {
      const { State } = await this.#get(`/containers/${id}/json`, container, signal);
      return State.Running ? State.StartedAt : undefined;
    } catch (error) {
      if (error instanceof RuntimeError && error.code === "not-found") return undefined;
      throw error;
    }
  }

  /** Loads the images of an archive of the form of `docker save`. */
  async load(archive: Uint8Array, signal: AbortSignal): Promise<void> {
    const text = await this.#connection.send({ method: "POST", path: "/images/load?quiet=1", body: archive, signal });
    this.#throwLateFailure(text, "does not load the images");
  }

  /** Pulls an image by its digest, from a repository as in normalised references. */
  async pull(
    repository: string,
    digest: Digest,
    credential: Credential | undefined,
    signal: AbortSignal,
  ): Promise<void> {
    const query = new URLSearchParams({ fromImage: repository, tag: digest });
    const registryAuth = credential && authOf(credential);
    const path = `/images/create?${query}`;
    const text = await this.#connection.send({ method: "POST", path, registryAuth, signal });
    this.#throwLateFailure(text, `does not pull ${repository}@${digest}`);
  }

  /** Calls when the daemon answers, and whenever something happens to images, until it ends. Always throws. */
  async watchImages(sinceSeconds: number, onEvent: () => void, signal: AbortSignal): Promise<never> {
    const query = new URLSearchParams({ filters: '{"type":["image"]}', since: String(sinceSeconds) });
    for await (const _ of this.#connection.lines(`/events?${query}`, signal)) onEvent();
    throw new RuntimeError("unavailable", `Docker at ${this.address} ended the stream of its events`);
  }

  /** Makes `name`, a normalised reference with a tag, a name of the image, whatever it named before. */
  async tag(id: Digest, name: string, signal: AbortSignal): Promise<void> {
    const { host, repository, tag = "latest" } = parseReference(name);
    const query = new URLSearchParams({ repo: `${host}/${repository}`, tag });
    await this.#connection.send({ method: "POST", path: `/images/${id}/tag?${query}`, signal });
  }

  /**
   * Removes a tag, and with the last one the image; or an image without tags by its id. `failed-precondition` while a container, a stopped
   * one too, has the image. Nothing is done when it is gone.
   */
  async remove(name: string, signal: AbortSignal): Promise<void> {
    try {
      await this.#connection.send({ method: "DELETE", path: `/images/${name}?noprune=1`, signal });
    } catch (error) {
      if (!(error instanceof RuntimeError) || error.code !== "not-found") throw error;
    }
  }

  /** Failures after the first byte of the answer come as a line of it. */
  #throwLateFailure(text: string, what: string): void {
    for (const line of text.split("\n")) {
      const event = line.includes("errorDetail") ? readShape(lateFailure, parseJson(line)).value : undefined;
      if (event === undefined) continue;
      throw new RuntimeError("internal", `Docker at ${this.address} ${what}: ${event.errorDetail.message}`);
    }
  }

  async #get<T>(path: string, shape: Shape<T>, signal: AbortSignal): Promise<T> {
    const text = await this.#connection.send({ method: "GET", path, signal });
    const { value, problem } = readShape(shape, parseJson(text));
    if (problem === undefined) return value;
    throw new RuntimeError(
      "wrong-program",
      `What answers on ${this.address} does not speak the API of Docker (GET ${path}: ${problem.path} ${problem.message}); name Docker's socket (--address)`,
    );
  }
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** Before API 1.43 images without a name have one that says so. */
function isNone(name: string): boolean {
  return name.startsWith("<none>") || name.endsWith("<none>");
}

/** As `AuthConfig` of the Engine API, section "Authentication". */
function authOf(credential: Credential): string {
  const { kind } = credential;
  const auth =
    kind === "password"
      ? { username: credential.username, password: credential.password }
      : kind === "identity-token"
        ? { identitytoken: credential.token }
        : { registrytoken: credential.token };
  return Buffer.from(JSON.stringify(auth)).toString("base64url");
}

/** Docker shortens the names of its own registry. */
function normalised(name: string): string {
  try {
    return formatReference(parseReference(name));
  } catch {
    // No name that a disk could have.
    return name;
  }
}
