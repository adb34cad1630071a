import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { after, before, describe, test } from "node:test";
import type { Descriptor } from "../../src/oci/descriptor.ts";
import { type Fault, type FaultRegistry, startFaultRegistry } from "../support/fault-registry.ts";
import { addLayer, type MadeImage, makeImage } from "../support/image-maker.ts";
import { AgentNode, imageIn } from "../support/runtimes/agent-node.ts";
import { platform } from "../support/runtimes/injection.ts";
import { outermostRuntimes } from "../support/runtimes/node-cli.ts";
import { file, tar } from "../support/tar-maker.ts";

/** Registries that are down, slow or lie, each for one image, while one agent keeps all of them warm. */

const always = Number.POSITIVE_INFINITY;

/** `times`: until it is mended, or as often. A stall is over only after half a minute. */
type Trouble = { readonly fault: Fault; readonly times: number };

/** What goes wrong with the layer of an image, by its name. */
const fetchTroubles: Readonly<Record<string, Trouble>> = {
  stalls: { fault: { kind: "stall", afterBytes: 70_000 }, times: 1 },
  drips: { fault: { kind: "drip", bytes: 1, everyMs: 200 }, times: 1 },
  cuts: { fault: { kind: "cut", afterBytes: 1000 }, times: always },
  busy: { fault: { kind: "status", status: 429, headers: { "retry-after": "2" } }, times: always },
  lies: { fault: { kind: "wrong-bytes" }, times: always },
  short: { fault: { kind: "resized", byBytes: -7, withLength: true }, times: always },
  long: { fault: { kind: "resized", byBytes: 7, withLength: true }, times: always },
  circles: { fault: { kind: "redirect", location: "?again" }, times: always },
};

/** What goes wrong with the question what a tag stands for, or with the manifest that the answer names. */
const resolveTroubles: Readonly<Record<string, { readonly of: "tag" | "manifest"; readonly fault: Fault }>> = {
  stalls: { of: "tag", fault: { kind: "status", status: 500 } },
  drips: { of: "tag", fault: { kind: "status", status: 404 } },
  cuts: { of: "manifest", fault: { kind: "cut", afterBytes: 10 } },
  busy: { of: "tag", fault: { kind: "status", status: 429, headers: { "retry-after": "2" } } },
  lies: { of: "manifest", fault: { kind: "wrong-bytes" } },
  short: { of: "tag", fault: { kind: "status", status: 200 } },
  long: { of: "manifest", fault: { kind: "endless" } },
  circles: { of: "tag", fault: { kind: "redirect", location: "?again" } },
};

type Served = {
  readonly name: string;
  readonly ref: string;
  readonly first: MadeImage;
  readonly second: MadeImage;
  readonly registry: FaultRegistry;
  readonly tags: Record<string, Descriptor>;
};

const runtime = (await outermostRuntimes()).at(-1);

describe(`nodewarm agent and registries that fail, ${runtime?.name}`, { skip: runtime?.reason ?? false }, () => {
  const scope = new AsyncDisposableStack();
  let node: AgentNode;
  let served: readonly Served[] = [];

  before(async () => {
    assert.ok(runtime);
    node = await AgentNode.start(scope, runtime);
    served = await Promise.all(Object.keys(fetchTroubles).map((name) => serve(name)));
  });
  after(() => scope.disposeAsync());

  const serve = async (name: string): Promise<Served> => {
    const { layout, base } = node.images;
    const image = async (text: string) => {
      const own = await addLayer(layout, {
        tar: tar(file("text", `${text}\n`), file("random", randomBytes(200_000))),
        compression: "none",
      });
      return makeImage(layout, { layers: [...base.layers, own], platform, run: { Cmd: ["/bin/cat", "/text"] } });
    };
    const [first, second] = [await image(`${name} 1`), await image(`${name} 2`)];
    const tags = { [`team/${name}:v1`]: first.manifest };
    const registry = await startFaultRegistry({ layoutDirectory: layout, tags });
    scope.defer(() => registry.stop());
    return { name, ref: `${registry.host}/team/${name}:v1`, first, second, registry, tags };
  };

  const names = async (): Promise<string> => node.daemon.ctr("-n", "k8s.io", "images", "ls", "-q");

  test("fetches end warm without help once the fault is over, and no wrong image ever has the name", async () => {
    for (const { name, first, registry } of served) {
      const trouble = fetchTroubles[name];
      assert.ok(trouble);
      registry.fault(new RegExp(`blobs/${first.layers.at(-1)?.descriptor.digest}`), trouble.fault, trouble.times);
    }
    await node.configure(
      served.map(({ ref }) => ({ ref, refresh: { interval: "10s" } })),
      {
        registries: served.map(({ registry }) => ({ prefix: registry.host, plainHttp: true })),
        limits: { highWater: 98, evictAbove: 99, parallelism: 16 },
      },
    );
    await node.startAgent();
    const lasting = served.filter(({ name }) => fetchTroubles[name]?.times === always);
    const broken = new Set<string>();
    const shown = new Map<string, string>();
    await node
      .until("all troubles show", (status) => {
        for (const { name, ref } of lasting) {
          const image = imageIn(status, ref);
          if (image?.phase === "Warm") broken.add(name);
          if (image?.lastError !== undefined && (image.retryInSeconds ?? 0) > 0) shown.set(name, image.lastError);
        }
        return shown.size === lasting.length;
      })
      .catch((error) =>
        assert.fail(`${lasting.map(({ name }) => `${name}: ${shown.get(name)}`).join("\n")}\n${error}`),
      );
    for (const { name, error } of [...shown].map(([name, error]) => ({ name, error })))
      assert.match(error, new RegExp(`team/${name}|sha256:|127\\.0\\.0\\.1`), name);
    const listed = await names();
    for (const { name, ref } of lasting) assert.ok(!listed.includes(ref), `${name} is not set`);
    assert.deepEqual([...broken], []);
    for (const { registry } of lasting) registry.mend();
    await node.untilWarm(...served.map(({ ref }) => ref));
    for (const { name, ref } of served)
      assert.equal(await node.daemon.run({ namespace: "k8s.io", image: ref }), `${name} 1\n`);
  });

  test("while tags cannot be asked for, the last digest stays and the trouble shows; then the tag moves", async () => {
    for (const { name, second, registry, tags } of served) {
      const trouble = resolveTroubles[name];
      assert.ok(trouble);
      const path = trouble.of === "tag" ? /manifests\/v1/ : new RegExp(`manifests/${second.manifest.digest}`);
      registry.fault(path, trouble.fault, always);
      tags[`team/${name}:v1`] = second.manifest;
    }
    const shown = new Map<string, string>();
    await node
      .until("all troubles show", (status) => {
        for (const { name, ref, first } of served) {
          const image = imageIn(status, ref);
          if (resolveTroubles[name]?.of === "tag") {
            assert.equal(image?.phase, "Warm", name);
            assert.equal(image.digest, first.manifest.digest, name);
          }
          if (image?.lastError !== undefined && (image.retryInSeconds ?? 0) > 0) shown.set(name, image.lastError);
        }
        return shown.size === served.length;
      })
      .catch((error) => assert.fail(`${served.map(({ name }) => `${name}: ${shown.get(name)}`).join("\n")}\n${error}`));
    for (const { name, ref } of served)
      assert.equal(await node.daemon.run({ namespace: "k8s.io", image: ref }), `${name} 1\n`);
    for (const { registry } of served) registry.mend();
    // The next try may be more than a minute away by now.
    await node.until(
      "all tags have moved",
      (status) =>
        served.every(({ ref, second }) => {
          const image = imageIn(status, ref);
          return image?.digest === second.manifest.digest && image.phase === "Warm";
        }),
      240_000,
    );
    for (const { name, ref } of served)
      assert.equal(await node.daemon.run({ namespace: "k8s.io", image: ref }), `${name} 2\n`);
  });
});
