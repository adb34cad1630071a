import assert from "node:assert/strict";
import { PassThrough } from "node:stream";
import { describe, it } from "node:test";
import type { InjectEvent, InjectReport } from "../../runtime/runtime.ts";
import { createEjectProgress, describeUsers } from "./eject-progress.ts";
import { createInjectProgress } from "./inject-progress.ts";
import { describeInjection } from "./inject-report.ts";

const digest = `sha256:${"1".repeat(64)}` as const;
const image = (name: string, result: "injected" | "present" | "skipped" = "injected") =>
  ({ names: [name], digest, result, chain: "complete", conditions: [] }) as const;
const usable = (name: string, result?: "present"): InjectEvent => ({
  type: "image-usable",
  image: image(name, result),
});

async function shown(isTTY: boolean, work: (event: (event: InjectEvent) => void, wait: (ms: number) => void) => void) {
  const output = Object.assign(new PassThrough(), { isTTY, columns: 80 });
  let nowMs = 0;
  const totals = { disk: "d.erofs", runtime: "containerd 2", images: 2 };
  const progress = createInjectProgress(output, {}, totals, () => nowMs);
  work(
    (event) => progress.event(event),
    (ms) => {
      nowMs += ms;
    },
  );
  progress.close();
  output.end();
  return Buffer.concat(await output.toArray())
    .toString()
    .replaceAll("\u001b", "ESC");
}

describe("the progress of an injection", () => {
  it("is a line for each image where there is no terminal", async () => {
    const text = await shown(false, (event, wait) => {
      wait(80);
      event(usable("docker.io/library/a:1"));
      event(usable("b.example/c:2", "present"));
      wait(420);
      event({ type: "chains", done: 3, total: 7 });
      event({ type: "chains", done: 7, total: 7 });
    });
    assert.equal(
      text,
      "injecting d.erofs into containerd 2\nimage 1/2 a:1: usable after 0.08 s\nimage 2/2 b.example/c:2: usable before\n" +
        "7 layers for later pulls: done after 0.50 s\n",
    );
  });

  it("is one line that is written over on a terminal, and gone at the end", async () => {
    const text = await shown(true, (event, wait) => {
      event(usable("a:1"));
      // Too soon after the one before to be drawn.
      event(usable("b:1"));
      wait(100);
      event({ type: "chains", done: 3, total: 1200 });
    });
    assert.match(text, /d\.erofs: 1 of 2 images usableESC/);
    assert.match(text, /d\.erofs: 2 of 2 images usable, 3 of 1,200 layers for later pullsESC/);
    assert.doesNotMatch(text, /2 of 2 images usableESC/);
    assert.match(text, /ESC\[1A\rESC\[JESC\[\?25h$/);
  });
});

describe("the report of an injection", () => {
  it("counts what was done, and gives each condition once", () => {
    const condition = { type: "TagKept", message: "kept" };
    const report: InjectReport = {
      disk: "ab".repeat(32),
      images: [
        { ...image("docker.io/library/a:1"), conditions: [condition] },
        { ...image("b:1", "present"), conditions: [condition] },
        { ...image("c:1", "skipped"), chain: "pending" },
      ],
      conditions: [],
      calls: 1234,
      transactions: 2345,
      seconds: { usable: 0.2, chains: 0.5 },
    };
    const text = describeInjection("containerd 2", [{ path: "/d.erofs", report }]);
    assert.match(text, /^containerd 2\nIMAGE +DIGEST +RESULT +CHAIN\na:1 +sha256:111111111111 +injected +complete\n/);
    assert.match(text, /^\/d\.erofs \(abababababab\): 1 image, 1 usable before, 1 skipped; usable after 0\.20 s, /m);
    assert.match(text, /layers after another 0\.50 s; 1,234 calls, 2,345 transactions\nTagKept: kept\n$/);
  });
});

describe("the progress of an ejection", () => {
  it("names who is waited for, again only when that changes", async () => {
    const output = new PassThrough();
    const event = createEjectProgress(output);
    const [one, two] = ["x", "y"].map((name) => ({ kind: "container" as const, name }));
    assert.ok(one && two);
    for (const users of [[one, two], [one, two], [two]]) event({ type: "waiting", users });
    event({ type: "materializing", snapshot: "s", tree: "images/1" });
    output.end();
    assert.equal(
      Buffer.concat(await output.toArray()).toString(),
      "waiting for container x, container y\nwaiting for container y\ncopying images/1 to the node\n",
    );
  });

  it("does not name hundreds", () => {
    const users = Array.from({ length: 300 }, (_, i) => ({ kind: "snapshot" as const, name: `s${i}` }));
    assert.equal(describeUsers(users), "snapshot s0, snapshot s1, snapshot s2, snapshot s3, snapshot s4 and 295 more");
  });
});
