import type { CredentialLookup } from "../oci/credentials/credential.ts";
import type { Endpoint } from "../oci/registry/endpoint.ts";

/** How the container runtime of this node reaches registries. */
export interface RegistryAccess {
  /** Where this was read, for a person. */
  readonly source: string;
  /** Whether the daemon ran; what its files say need not be what it will start with. */
  readonly isRunning: boolean;
  /** `HTTP_PROXY`, `HTTPS_PROXY`, `NO_PROXY` in the cases that are set; may hold passwords. */
  readonly environment: Readonly<Record<string, string>>;
  /** What could not be read, without which this was made. */
  readonly problems: readonly string[];
  /** Credentials that its own configuration holds. */
  readonly credentials: CredentialLookup;
  /**
   * The servers for a registry host, in the order in which they are asked; files are read anew. What is wrong with those is told by
   * `onProblem`, and left out as the runtime does. Throws `OciError` (invalid-configuration).
   */
  endpoints(host: string, onProblem: (message: string) => void): Promise<readonly Endpoint[]>;
}
