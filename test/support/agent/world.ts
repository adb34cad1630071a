import { defaultAgentSpec } from "../../../src/agent/config/agent-config.ts";
import { type Decision, decide } from "../../../src/agent/decide/decide.ts";
import { emptyMemory, type Memory, notice } from "../../../src/agent/decide/memory.ts";
import type { World } from "../../../src/agent/decide/world.ts";
import { policyOf } from "../../../src/agent/desired/policy.ts";
import type { Sight } from "../../../src/agent/loop/look.ts";
import { makeWorld, type WorldFacts } from "../../../src/agent/loop/make-world.ts";
import { emptyRecord } from "../../../src/agent/state/agent-state.ts";
import type { ImageSet } from "../../../src/kubernetes/image-set.ts";
import type { Digest } from "../../../src/oci/descriptor.ts";
import type { ImageOrigin, NodeImage } from "../../../src/runtime/image-keeper.ts";
import type { User } from "../../../src/runtime/runtime.ts";

export type WorldInput = Partial<Omit<Sight, "observation">> &
  Partial<WorldFacts> & {
    readonly sets?: readonly ImageSet[];
    readonly images?: readonly NodeImage[];
    /** Digests of images that are not warm, and users of those that are in use. */
    readonly cold?: readonly Digest[];
    readonly users?: ReadonlyMap<Digest, readonly User[]>;
    readonly agent?: ReturnType<typeof defaultAgentSpec>;
  };

/** A world in which all is well and nothing is wished, but for what is given. */
export function testWorld(input: WorldInput = {}): World {
  const { sets = [], images = [], cold = [], users = new Map(), agent = defaultAgentSpec() } = input;
  const contents = new Map(
    images.map(({ digest }) => {
      const isWarm = !cold.includes(digest);
      return [digest, { digest, isWarm, missing: isWarm ? "" : "gone", users: users.get(digest) ?? [] }];
    }),
  );
  const sight: Sight = {
    observation: { images, contents },
    found: [],
    injected: [],
    space: [],
    pressure: "",
    holders: new Map(),
    ...input,
  };
  return makeWorld(sight, {
    configuration: { sets, agent },
    record: emptyRecord,
    memory: emptyMemory(0),
    nowMs: 0,
    running: new Map(),
    unsettled: new Map(),
    ...input,
  });
}

export function record(
  name: string,
  digest: Digest,
  from: ImageOrigin = { from: "fetch" },
  isPinned = true,
): NodeImage {
  return { name, digest, origin: from, isPinned };
}

/** What is decided about a world once it was noticed, as the loop does. */
export function decideOn(input: WorldInput): Decision & { readonly memory: Memory } {
  const world = testWorld(input);
  const memory = notice(world);
  return { ...decide({ ...world, memory }), memory };
}

/** Actions in short: `fetch docker.io/library/web:1`. */
export function inShort({ actions }: Decision): readonly string[] {
  return actions.map((action) => {
    if (action.type === "tidy" || action.type === "readmit") return action.type;
    if ("name" in action) return `${action.type} ${action.name}`;
    return "disk" in action ? `${action.type} ${action.disk}` : `${action.type} ${action.names.join(" ")}`;
  });
}

export const policy = policyOf(defaultAgentSpec());
