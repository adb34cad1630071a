import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { host } from "../support/cli.ts";
import { type Fault, type FaultRegistry, startFaultRegistry } from "../support/fault-registry.ts";
import { refusedBuild } from "../support/hostile-run.ts";
import { type MadeImage, makeImage } from "../support/image-maker.ts";
import { file, tar } from "../support/tar-maker.ts";
import { temporaryDirectory } from "../support/temporary.ts";

const fixtures = new AsyncDisposableStack();
const options = ["--limit", "stall-seconds=1", "--limit", "fetch-retries=1"];
let layout: string;
let image: MadeImage;

before(async () => {
  layout = join(await temporaryDirectory(fixtures, "hostile"), "layout");
  image = await makeImage(layout, { layers: [{ tar: tar(file("f", randomBytes(2_000_000))) }], platform: host });
});
after(() => fixtures.disposeAsync());

async function registry(scope: AsyncDisposableStack): Promise<FaultRegistry> {
  const started = await startFaultRegistry({ layoutDirectory: layout, tags: { "team/app:1": image.manifest } });
  scope.defer(() => started.stop());
  return started;
}

const faults: readonly (readonly [what: string, fault: Fault, expected: RegExp])[] = [
  ["stalls", { kind: "stall", afterBytes: 100 }, /stall-seconds/],
  ["cuts", { kind: "cut", afterBytes: 100 }, /the other side closed/],
  ["sends other bytes", { kind: "wrong-bytes" }, /digest/],
  ["sends less than it says", { kind: "resized", byBytes: -50, withLength: false }, /digest|ended after/],
  ["sends a shorter whole", { kind: "resized", byBytes: -50, withLength: true }, /digest|instead of/],
  ["sends a longer whole", { kind: "resized", byBytes: 50, withLength: true }, /digest|instead of/],
  ["sends without end", { kind: "endless" }, /larger than|more than/],
  ["fails", { kind: "status", status: 500, body: "x".repeat(10_000_000) }, /500/],
  ["redirects in a circle", { kind: "redirect", location: "/v2/team/app/blobs/again" }, /redirects more than 10 times/],
];

const places: readonly (readonly [what: string, path: () => RegExp])[] = [
  ["the manifest", () => /manifests|again/],
  ["the config", () => new RegExp(`${image.config.digest}|again`)],
  ["a layer", () => new RegExp(`${image.layers[0]?.descriptor.digest}|again`)],
];

describe("a registry", { concurrency: 2 }, () => {
  for (const [fault, kind, expected] of faults) {
    for (const [place, path] of places) {
      it(`that ${fault} at ${place} ends the build with one error`, async () => {
        await using scope = new AsyncDisposableStack();
        const server = await registry(scope);
        server.fault(path(), kind, 1000);
        const error = await refusedBuild(`${server.host}/team/app:1`, options);
        assert.match(error, expected);
        assert.ok(error.includes(server.host), error);
      });
    }
  }
});
