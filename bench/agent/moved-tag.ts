import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { hostPlatform } from "../../src/oci/platform.ts";
import { addLayer, type MadeImage, makeImage, pushToRegistry } from "../../test/support/image-maker.ts";
import { startRegistry } from "../../test/support/registry.ts";
import type { ContainerdRuntime } from "../../test/support/runtimes/fleet.ts";
import { file, tar } from "../../test/support/tar-maker.ts";
import { temporaryDirectory } from "../../test/support/temporary.ts";
import { keyStream } from "../suite/contents.ts";
import type { Figure } from "./figures.ts";
import { MeasuredAgent } from "./measured-agent.ts";

/** Bytes that the registry sent after the tag had moved. */
export type MovedTag = { readonly sentBytes: number; readonly neededBytes: number; readonly imageBytes: number };

const layerBytes = 1_000_000;
const repository = "team/moving";

/** An image of five layers, of which the last changes, behind a registry that counts. */
export async function measureMovedTag(runtime: ContainerdRuntime, program: string): Promise<MovedTag> {
  await using scope = new AsyncDisposableStack();
  const layout = join(await temporaryDirectory(scope, "layout"), "layout");
  await mkdir(layout);
  const layer = (name: string) => addLayer(layout, { tar: tar(file(name, keyStream(name)(layerBytes))) });
  const same = await Promise.all(["a", "b", "c", "d"].map(layer));
  const image = async (last: string) =>
    makeImage(layout, { layers: [...same, await layer(last)], platform: hostPlatform() });
  const [old, next] = [await image("old"), await image("new")];
  const registry = await startRegistry();
  scope.defer(() => registry.stop());
  const push = (made: MadeImage) =>
    pushToRegistry(layout, made.manifest, { origin: `http://${registry.directHost}`, repository, tag: "v1" });
  await push(old);
  const agent = await MeasuredAgent.make(scope, program, await runtime.start(scope));
  const ref = `${registry.host}/${repository}:v1`;
  await agent.configure({ images: [{ ref, refresh: { interval: "10s" } }], plainHttp: [registry.host] });
  agent.start();
  await agent.untilWarm(1);
  await push(next);
  registry.resetCounts();
  const isMoved = (digest: string | undefined) => digest === next.manifest.digest;
  await agent.until("the tag has moved", ({ images: [only] }) => isMoved(only?.digest) && only?.phase === "Warm");
  const changed = next.layers.at(-1)?.descriptor.size ?? Number.NaN;
  return {
    sentBytes: registry.sentBytes(),
    neededBytes: next.manifest.size + next.config.size + changed,
    imageBytes: next.layers.reduce((sum, { descriptor }) => sum + descriptor.size, 0),
  };
}

export function movedTagFigures({ sentBytes, neededBytes, imageBytes }: MovedTag): readonly Figure[] {
  const what = `bytes fetched, of an image of ${(imageBytes / 1e6).toFixed(1)} MB`;
  return [{ part: "tag moved", what, unit: "KB", value: sentBytes / 1e3, target: neededBytes / 1e3 }];
}
