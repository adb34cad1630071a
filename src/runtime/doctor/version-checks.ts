import { isFrom, parseVersion } from "../containerd/version-number.ts";
import { type Finding, failure, ok, warning } from "./finding.ts";

/** Whether this containerd is known, and keeps pinned images from kubelet (from 1.6.22 and 1.7.3 on). */
export function checkVersion(text: string, hasPods: boolean): Finding {
  const name = "version";
  const version = parseVersion(text);
  if (version === undefined)
    return warning(name, `containerd ${text}, which is no release`, "use a release of containerd");
  if (!isFrom(version, [1, 6, 0]))
    return failure(name, `containerd ${text}: older than any that was tried`, "use containerd 1.6 or later");
  const isPinned = isFrom(version, [1, 7, 3]) || (version.minor === 6 && version.patch >= 22);
  if (hasPods && !isPinned)
    return warning(
      name,
      `containerd ${text} does not tell kubelet that injected images are pinned: they may be collected when the node's disk is full`,
      'use containerd 1.6.22, 1.7.3 or later; "nodewarm inject" brings collected images back',
    );
  return ok(name, `containerd ${text}`);
}

/** What a version can do for pods with user namespaces. `mapped`: whether the mounts below the snapshots can be ID-mapped. */
export function checkUserNamespaces(
  text: string,
  mapped: { readonly isSupported: true } | { readonly isSupported: false; readonly reason: string },
): Finding {
  const name = "user namespaces";
  const version = parseVersion(text);
  if (version !== undefined && !isFrom(version, [2, 0, 0]))
    return ok(name, `containerd ${text} copies an image for each pod that has one: slow, as with pulled images`);
  if (version !== undefined && !isFrom(version, [2, 3, 0]))
    return warning(
      name,
      `containerd ${text} cannot start pods with user namespaces (hostUsers: false) from injected images`,
      "use containerd 2.3 or later for such pods, or pull their images",
    );
  if (mapped.isSupported) return ok(name, "mounts below the snapshots can be ID-mapped");
  return warning(
    name,
    `${mapped.reason}: pods with user namespaces (hostUsers: false) cannot be started`,
    "use Linux 5.19 or later, or pods without user namespaces",
  );
}
