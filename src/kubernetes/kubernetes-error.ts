import { CodedError } from "../oci/coded-error.ts";

export type KubernetesErrorCode =
  /** The file is no YAML. */
  | "invalid-yaml"
  /** A document does not fit its kind. */
  | "invalid-document";

export class KubernetesError extends CodedError<KubernetesErrorCode> {}
