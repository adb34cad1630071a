import { bool, bytes, int32, labels, nested, nestedList, string, strings, uint32, uint64 } from "../message.ts";

/**
 * The messages of `runtime.v1` (Kubernetes `cri-api`, `pkg/apis/runtime/v1/api.proto`), the fields that are used. Times are left
 * out: in nanoseconds they are no safe integers.
 */

export const imageSpec = {
  image: string(1),
  annotations: labels(2),
  userSpecifiedImage: string(18),
  runtimeHandler: string(19),
};

export const authConfig = {
  username: string(1),
  password: string(2),
  identityToken: string(5),
  registryToken: string(6),
};

export const imageMessage = {
  id: string(1),
  repoTags: strings(2),
  repoDigests: strings(3),
  size: uint64(4),
  username: string(6),
  spec: nested(7, imageSpec),
  pinned: bool(8),
};

export const conditionMessage = { type: string(1), status: bool(2), reason: string(3), message: string(4) };
export const handlerMessage = {
  name: string(1),
  features: nested(2, { recursiveReadOnlyMounts: bool(1), userNamespaces: bool(2) }),
};

const idMapping = { hostId: uint32(1), containerId: uint32(2), length: uint32(3) };
const userNamespace = { mode: int32(1), uids: nestedList(2, idMapping), gids: nestedList(3, idMapping) };
export const namespaceOptions = {
  network: int32(1),
  pid: int32(2),
  ipc: int32(3),
  usernsOptions: nested(5, userNamespace),
};

export const sandboxConfig = {
  metadata: nested(1, { name: string(1), uid: string(2), namespace: string(3), attempt: uint32(4) }),
  hostname: string(2),
  logDirectory: string(3),
  labels: labels(6),
  annotations: labels(7),
  linux: nested(8, {
    cgroupParent: string(1),
    securityContext: nested(2, { namespaceOptions: nested(1, namespaceOptions), privileged: bool(6) }),
  }),
};

const containerMetadata = { name: string(1), attempt: uint32(2) };

export const containerConfig = {
  metadata: nested(1, containerMetadata),
  image: nested(2, imageSpec),
  command: strings(3),
  args: strings(4),
  workingDir: string(5),
  envs: nestedList(6, { key: string(1), value: string(2) }),
  mounts: nestedList(7, { containerPath: string(1), hostPath: string(2), readonly: bool(3), propagation: int32(5) }),
  labels: labels(9),
  annotations: labels(10),
  logPath: string(11),
  linux: nested(15, {
    securityContext: nested(2, { privileged: bool(2), namespaceOptions: nested(3, namespaceOptions) }),
  }),
};

/** Without its times: nanoseconds are beyond what a `number` holds. */
export const containerStatus = {
  id: string(1),
  metadata: nested(2, containerMetadata),
  state: int32(3),
  exitCode: int32(7),
  image: nested(8, imageSpec),
  imageRef: string(9),
  reason: string(10),
  message: string(11),
  labels: labels(12),
  logPath: string(15),
};

export const containerMessage = {
  id: string(1),
  podSandboxId: string(2),
  metadata: nested(3, containerMetadata),
  image: nested(4, imageSpec),
  imageRef: string(5),
  state: int32(6),
  labels: labels(8),
};

export const execResult = { stdout: bytes(1), stderr: bytes(2), exitCode: int32(3) };

/** enum ContainerState, in its order. */
export const containerStates = ["created", "running", "exited", "unknown"] as const;

/** enum MountPropagation. */
export const mountPropagations = { private: 0, hostToContainer: 1, bidirectional: 2 } as const;

/** enum NamespaceMode. */
export const namespaceModes = { pod: 0, container: 1, node: 2, target: 3 } as const;
