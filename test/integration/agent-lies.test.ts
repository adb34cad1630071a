import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import type { AgentStatus } from "../../src/agent/status.ts";
import type { Descriptor } from "../../src/oci/descriptor.ts";
import { type FaultRegistry, startFaultRegistry } from "../support/fault-registry.ts";
import { addLayer, type MadeImage, makeImage } from "../support/image-maker.ts";
import { AgentNode, imageIn } from "../support/runtimes/agent-node.ts";
import { platform } from "../support/runtimes/injection.ts";
import { outermostRuntimes } from "../support/runtimes/node-cli.ts";
import { file, tar } from "../support/tar-maker.ts";

/** A registry that moves a tag to what it does not give: the last good image stays, whatever happens to it meanwhile. */

const always = Number.POSITIVE_INFINITY;
const tag = "team/tool:v1";
const runtime = (await outermostRuntimes()).at(-1);

describe(`nodewarm agent and a registry that lies, ${runtime?.name}`, { skip: runtime?.reason ?? false }, () => {
  const scope = new AsyncDisposableStack();
  const tags: Record<string, Descriptor> = {};
  let node: AgentNode;
  let registry: FaultRegistry;
  let ref = "";
  let first: MadeImage;
  let second: MadeImage;

  before(async () => {
    assert.ok(runtime);
    node = await AgentNode.start(scope, runtime);
    [first, second] = [await image("1"), await image("2")];
    tags[tag] = first.manifest;
    registry = await startFaultRegistry({ layoutDirectory: node.images.layout, tags });
    scope.defer(() => registry.stop());
    ref = `${registry.host}/${tag}`;
    await node.configure([{ ref, refresh: { interval: "10s" } }], {
      registries: [{ prefix: registry.host, plainHttp: true }],
      limits: { highWater: 98, evictAbove: 99 },
    });
    await node.startAgent();
    await node.untilWarm(ref);
  });
  after(() => scope.disposeAsync());

  const image = async (text: string): Promise<MadeImage> => {
    const { layout, base } = node.images;
    const own = await addLayer(layout, {
      tar: tar(file("text", `${text}\n`), file("random", randomBytes(200_000))),
      compression: "none",
    });
    return makeImage(layout, { layers: [...base.layers, own], platform, run: { Cmd: ["/bin/cat", "/text"] } });
  };

  /** The condition, while the image is as it was. */
  const lie = (status: AgentStatus): string | undefined => {
    const { phase, digest, conditions = [] } = imageIn(status, ref) ?? {};
    if (phase !== "Warm" || digest !== first.manifest.digest) return undefined;
    return conditions.find(({ type }) => type === "DigestUnavailable")?.message;
  };

  const removeAll = async (): Promise<void> => {
    const listed = await node.daemon.ctr("-n", "k8s.io", "images", "ls", "-q");
    const names = listed.split("\n").filter((name) => name.startsWith(`${registry.host}/team/tool`));
    assert.ok(names.includes(ref));
    await node.daemon.ctr("-n", "k8s.io", "images", "rm", "--sync", ...names);
  };

  /** After it was removed. */
  const untilBack = async (disappearances: number): Promise<void> => {
    await node.until("the last good image is back", (status) => {
      const found = imageIn(status, ref);
      return found?.phase === "Warm" && found.disappearances >= disappearances;
    });
    assert.equal(await node.container(ref), "1\n");
  };

  test("the last good image stays, which shows, and is fetched again by its own digest when it is deleted", async () => {
    registry.fault(new RegExp(`manifests/${second.manifest.digest}`), { kind: "wrong-bytes" }, always);
    tags[tag] = second.manifest;
    const status = await node.until("the lie shows", (each) => lie(each) !== undefined);
    const message = lie(status) ?? "";
    for (const { manifest } of [first, second]) assert.ok(message.includes(manifest.digest), message);
    assert.equal(await node.container(ref), "1\n");
    await removeAll();
    await untilBack(1);
  });

  test("that holds after a restart of the agent, whose state has the last good digest alone", async () => {
    await node.stop();
    const state = await readFile(join(node.state, "state.json"), "utf8");
    assert.ok(state.includes(first.manifest.digest));
    assert.ok(!state.includes(second.manifest.digest));
    await node.startAgent();
    await node.until("the lie shows again", (each) => lie(each) !== undefined);
    await removeAll();
    await untilBack(1);
  });

  test("bytes of a layer that are not what they should be are a lie as well; when it ends, the tag moves", async () => {
    registry.mend();
    const layer = second.layers.at(-1)?.descriptor.digest ?? "";
    registry.fault(new RegExp(`blobs/${layer}`), { kind: "wrong-bytes" }, always);
    await node.until("the layer is refused", (each) => /bytes that came for layer/.test(lie(each) ?? ""), 240_000);
    assert.equal(await node.container(ref), "1\n");
    registry.mend();
    await node.until(
      "the tag moves",
      (status) => {
        const { phase, digest, conditions } = imageIn(status, ref) ?? {};
        return phase === "Warm" && digest === second.manifest.digest && conditions?.length === 0;
      },
      240_000,
    );
    assert.equal(await node.container(ref), "2\n");
  });
});
