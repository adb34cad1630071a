import type { Digest } from "../../oci/descriptor.ts";
import type { FetchProgress, FetchReport } from "../../runtime/image-keeper.ts";
import type { InjectReport } from "../../runtime/runtime.ts";
import { AgentError } from "../agent-error.ts";
import type { Action } from "../decide/action.ts";
import type { AgentState } from "../state/agent-state.ts";
import type { Admission } from "./admission.ts";
import type { AgentParts } from "./parts.ts";

/** What came of an action. */
export type Outcome =
  | { readonly type: "done" }
  | { readonly type: "resolved"; readonly digest: Digest }
  | { readonly type: "injected"; readonly report: InjectReport }
  | { readonly type: "fetched"; readonly report: FetchReport };

export type ActingOptions = {
  readonly signal: AbortSignal;
  readonly admission: Admission;
  readonly onProgress: (progress: FetchProgress) => void;
};

/** Does one action. Throws what the parts throw, and the reason of the signal. */
export async function perform(action: Action, parts: AgentParts, options: ActingOptions): Promise<Outcome> {
  const { keeper, state, clock, disks, runtime, resolver } = parts;
  const { signal } = options;
  switch (action.type) {
    case "resolve": {
      const known = state.record.tags[action.name];
      const asked = { signal, ...(known !== undefined && known.disk === undefined && { known: known.digest }) };
      return { type: "resolved", digest: await resolver.resolveTag(action.reference, asked) };
    }
    case "inject":
    case "chains":
      return { type: "injected", report: await inject(action, parts, signal) };
    case "fetch":
      return { type: "fetched", report: await fetchImage(action, parts, options) };
    case "set-name":
      await keeper.setName(action.name, action.digest, { signal });
      return { type: "done" };
    case "release":
      // First, so that it is not fetched again meanwhile.
      if (action.why === "space") await noteEvicted(parts, action.digest);
      await keeper.release(action.name, action.how, { signal });
      return { type: "done" };
    case "eject":
      await runtime.eject({ disks: [action.disk], wait: false, materialize: false, signal });
      return { type: "done" };
    case "cut-off":
      await keeper.cutOff(action.disk, { signal });
      return { type: "done" };
    case "remove-file":
      await disks.removeFile(action.path, action.disk);
      return { type: "done" };
    case "remember":
      await remember(parts, action.name, { ...action.tag, atSeconds: clock.wallSeconds() });
      return { type: "done" };
    case "forget":
      await state.change((record) => ({ ...record, tags: without(record.tags, action.name) }));
      return { type: "done" };
    case "readmit":
      await keep(state, (record) => ({
        ...record,
        evicted: Object.fromEntries(
          Object.entries(record.evicted).filter(([each]) => !action.digests.some((digest) => digest === each)),
        ),
      }));
      return { type: "done" };
    case "tidy":
      await keeper.tidy({ isTight: action.isTight, signal });
      return { type: "done" };
    case "adopt":
      await state.change((record) => ({
        ...record,
        byHand: { ...record.byHand, [action.disk]: { path: action.path, images: action.images } },
      }));
      return { type: "done" };
  }
}

/** A disk that is found is opened by what trusts it, another one as the person who named it would. */
export async function openDisk({ disks, openByHand }: Pick<AgentParts, "disks" | "openByHand">, path: string) {
  try {
    return await disks.open(path);
  } catch (error) {
    if (!(error instanceof AgentError) || error.code !== "not-found") throw error;
    return openByHand(path);
  }
}

async function inject(
  action: Extract<Action, { type: "inject" | "chains" }>,
  parts: AgentParts,
  signal: AbortSignal,
): Promise<InjectReport> {
  const isByHand = Object.hasOwn(parts.state.record.byHand, action.disk);
  const open = isByHand ? await openDisk(parts, action.path) : await parts.disks.open(action.path);
  try {
    if (open.disk.id !== action.disk)
      throw new AgentError("not-found", `${action.path} is disk ${open.disk.id} now, not ${action.disk}`);
    return await parts.runtime.inject(open, {
      ...(action.images && { images: action.images }),
      handlers: "all",
      force: action.type === "inject" && action.force,
      keepTags: action.keepTags,
      chains: action.type === "chains",
      signal,
    });
  } finally {
    await open.disk.close();
  }
}

async function fetchImage(
  { digest, reference, sets, isGated }: Extract<Action, { type: "fetch" }>,
  { keeper, resolver }: AgentParts,
  { signal, admission, onProgress }: ActingOptions,
): Promise<FetchReport> {
  const image = await resolver.openImage(reference, digest, keeper.platform, { signal });
  const ticket = { sets, isGated, signal };
  const totalBytes = image.layers.reduce((sum, { descriptor }) => sum + descriptor.size, 0);
  const isOurs = keeper.fetchedBy === "nodewarm";
  try {
    // What the runtime fetches itself does not ask on its way.
    if (!isOurs) {
      admission.note(ticket, { totalBytes, presentBytes: 0, fetchedBytes: 0, unpackedBytes: 0 });
      await admission.checkSpace(ticket);
    }
    return await keeper.fetch(image, `${reference.host}/${reference.repository}`, {
      signal,
      onProgress: (progress) => {
        admission.note(ticket, progress);
        onProgress(progress);
      },
      ...(isOurs && {
        admit: (bytes) => admission.admit(bytes, ticket),
        admitUnpack: (aborted) => admission.admitUnpack(ticket, aborted),
      }),
    });
  } finally {
    admission.end(ticket);
  }
}

async function remember(
  { state }: AgentParts,
  name: string,
  tag: AgentParts["state"]["record"]["tags"][string],
): Promise<void> {
  const before = state.record.tags[name];
  const isSame = before?.digest === tag.digest && before.disk?.sequence === tag.disk?.sequence;
  // The time alone is not worth a write.
  if (isSame && before.disk?.line === tag.disk?.line) return;
  await keep(state, (record) => ({ ...record, tags: { ...record.tags, [name]: tag } }));
}

async function noteEvicted({ state, clock }: AgentParts, digest: Digest): Promise<void> {
  if (Object.hasOwn(state.record.evicted, digest)) return;
  const atSeconds = clock.wallSeconds();
  await keep(state, (record) => ({ ...record, evicted: { ...record.evicted, [digest]: { atSeconds } } }));
}

/** What cannot be made durable counts all the same; the state says so itself. */
async function keep(state: AgentState, edit: Parameters<AgentState["change"]>[0]): Promise<void> {
  await state.change(edit).catch((error) => {
    if (!(error instanceof AgentError)) throw error;
  });
}

function without<Value>(record: Readonly<Record<string, Value>>, key: string): Readonly<Record<string, Value>> {
  return Object.fromEntries(Object.entries(record).filter(([each]) => each !== key));
}
