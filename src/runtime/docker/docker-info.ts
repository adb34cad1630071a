import { request } from "node:http";
import { anything, array, object, orAbsent, readShape, string } from "../../oci/json-shape.ts";
import { RuntimeError } from "../runtime-error.ts";

/** What a Docker daemon says of where it keeps images. */
export type DockerInfo = {
  readonly version: string;
  /** `overlay2`; with the containerd store the snapshotter's name, such as `overlayfs`. */
  readonly driver: string;
  readonly usesContainerd: boolean;
  /** Socket and namespace of the containerd that it uses; said from version 27 on. */
  readonly containerd: string | undefined;
  readonly namespace: string | undefined;
};

const maxAnswerBytes = 4 << 20;

const document = object({
  ServerVersion: string,
  Driver: string,
  DriverStatus: orAbsent(array(anything)),
  Containerd: orAbsent(
    object({ Address: orAbsent(string), Namespaces: orAbsent(object({ Containers: orAbsent(string) })) }),
  ),
});

/**
 * Asks the daemon on a socket (Docker Engine API, `GET /info`; the path without a version is answered by all). Throws `RuntimeError`:
 * `unavailable` when nobody answers, `permission-denied`, `wrong-program` when it is no Docker.
 */
export async function readDockerInfo(socketPath: string, timeoutMs: number): Promise<DockerInfo> {
  const { value, problem } = readShape(document, parse(await get(socketPath, "/info", timeoutMs), socketPath));
  if (problem !== undefined) throw noDocker(socketPath, `${problem.path} ${problem.message}`);
  const { ServerVersion, Driver, DriverStatus = [], Containerd } = value;
  return {
    version: ServerVersion,
    driver: Driver,
    usesContainerd: DriverStatus.some(
      (pair) => Array.isArray(pair) && pair[0] === "driver-type" && pair[1] === "io.containerd.snapshotter.v1",
    ),
    containerd: Containerd?.Address || undefined,
    namespace: Containerd?.Namespaces?.Containers || undefined,
  };
}

function parse(text: string, socketPath: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw noDocker(socketPath, "the answer is not JSON", cause);
  }
}

function get(socketPath: string, path: string, timeoutMs: number): Promise<string> {
  return new Promise((resolve, reject) => {
    const asked = request({ socketPath, path, headers: { host: "docker" }, signal: AbortSignal.timeout(timeoutMs) });
    asked.on("error", (error) => reject(failure(socketPath, error, timeoutMs)));
    asked.on("response", (answer) => {
      const pieces: Buffer[] = [];
      let bytes = 0;
      answer.on("error", (error) => reject(failure(socketPath, error, timeoutMs)));
      answer.on("data", (piece: Buffer) => {
        pieces.push(piece);
        bytes += piece.length;
        if (bytes > maxAnswerBytes) answer.destroy(new Error(`the answer is longer than ${maxAnswerBytes} bytes`));
      });
      answer.on("end", () => {
        if (answer.statusCode === 200) resolve(Buffer.concat(pieces).toString());
        else reject(noDocker(socketPath, `GET ${path} is answered with status ${answer.statusCode}`));
      });
    });
    asked.end();
  });
}

function failure(socketPath: string, cause: Error, timeoutMs: number): RuntimeError {
  const code = "code" in cause ? String(cause.code) : "";
  if (code === "ENOENT")
    return new RuntimeError(
      "unavailable",
      `There is no socket ${socketPath}: start Docker, or name its socket (--address)`,
      {
        cause,
      },
    );
  if (code === "ECONNREFUSED")
    return new RuntimeError("unavailable", `Nobody listens on ${socketPath}: Docker is stopped or starting`, { cause });
  if (code === "EACCES" || code === "EPERM")
    return new RuntimeError("permission-denied", `The socket ${socketPath} is closed to this user: run as root`, {
      cause,
    });
  if (code.startsWith("HPE_") || code === "ENOTSOCK" || code === "ENOTDIR")
    return noDocker(socketPath, "it does not speak HTTP", cause);
  if (cause.name === "AbortError" || cause.name === "TimeoutError")
    return new RuntimeError(
      "deadline-exceeded",
      `Docker on ${socketPath} has not answered within ${timeoutMs / 1000} s`,
      {
        cause,
      },
    );
  return new RuntimeError("unavailable", `The connection to ${socketPath} broke: ${cause.message}`, { cause });
}

function noDocker(socketPath: string, why: string, cause?: unknown): RuntimeError {
  return new RuntimeError("wrong-program", `What answers on ${socketPath} is no Docker (${why})`, { cause });
}
