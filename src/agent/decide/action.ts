import type { Digest } from "../../oci/descriptor.ts";
import type { Reference } from "../../oci/reference.ts";
import type { LogFields } from "../log-line.ts";
import type { KnownTag } from "../state/agent-state.ts";

/** Something to do. Each may be begun again at any time, whatever became of it before. */
export type Action =
  /** Ask the registry what a tag stands for. */
  | { readonly type: "resolve"; readonly name: string; readonly reference: Reference }
  /** Make images of a disk usable; all when `images` is left out. Names of `keepTags` stay as they are. */
  | {
      readonly type: "inject";
      readonly disk: string;
      readonly path: string;
      readonly images?: readonly string[];
      /** Moves tags of others. */
      readonly force: boolean;
      readonly keepTags: readonly string[];
      /** Names that it is to make warm. */
      readonly names: readonly string[];
    }
  /** Complete the chains of a disk that is injected. Gives way to all else. */
  | {
      readonly type: "chains";
      readonly disk: string;
      readonly path: string;
      readonly images?: readonly string[];
      readonly keepTags: readonly string[];
    }
  | {
      readonly type: "fetch";
      readonly digest: Digest;
      readonly reference: Reference;
      /** Names that it is to make warm. */
      readonly names: readonly string[];
      readonly sets: readonly string[];
      /** Whether workloads wait for it. */
      readonly isGated: boolean;
    }
  | { readonly type: "set-name"; readonly name: string; readonly digest: Digest }
  | {
      readonly type: "release";
      readonly name: string;
      readonly digest: Digest;
      readonly how: "remove" | "unpin";
      /** `space`: it is wanted, and given up all the same. */
      readonly why: "unwanted" | "space" | "disk-away";
    }
  | { readonly type: "eject"; readonly disk: string }
  /** Have nothing start from a disk any more, without touching what runs on it. */
  | { readonly type: "cut-off"; readonly disk: string }
  | { readonly type: "remove-file"; readonly disk: string; readonly path: string }
  /** Keep in the state what a name is to stand for. */
  | { readonly type: "remember"; readonly name: string; readonly tag: Omit<KnownTag, "atSeconds"> }
  | { readonly type: "forget"; readonly name: string }
  /** Let images come back that were given up for space, or forget that of others. */
  | { readonly type: "readmit"; readonly digests: readonly Digest[] }
  /** Remove what fetches that nobody goes on with left; all of it when `isTight`. */
  | { readonly type: "tidy"; readonly isTight: boolean }
  /** Take images of a disk that somebody injected without the agent for injected by hand. */
  | { readonly type: "adopt"; readonly disk: string; readonly path: string; readonly images: readonly string[] };

/** Actions with one key never run side by side. */
export function keyOf(action: Action): string {
  switch (action.type) {
    case "resolve":
      return `resolve ${action.name}`;
    case "inject":
    case "chains":
    case "eject":
    case "cut-off":
    case "adopt":
      return `disk ${action.disk}`;
    case "fetch":
      return `fetch ${action.digest}`;
    case "set-name":
    case "release":
      return `name ${action.name}`;
    case "remove-file":
      return `file ${action.path}`;
    case "remember":
    case "forget":
      return `tag ${action.name}`;
    case "tidy":
    case "readmit":
      return action.type;
  }
}

/** What is done, for logs and metrics. A record of others is not released: it stays, and only its pin goes. */
function wordOf(action: Action): string {
  return action.type === "release" && action.how === "unpin" ? "unpin" : action.type;
}

/** What an action is about, for logs. Of several images the first. */
export function describeAction(action: Action): Pick<LogFields, "image" | "digest" | "disk" | "path"> & {
  readonly action: string;
} {
  const image = "name" in action ? action.name : "names" in action ? action.names[0] : undefined;
  return {
    action: wordOf(action),
    ...(image !== undefined && { image }),
    ...("digest" in action && { digest: action.digest }),
    ...("disk" in action && { disk: action.disk }),
    ...("path" in action && { path: action.path }),
  };
}
