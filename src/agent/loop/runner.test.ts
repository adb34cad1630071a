import assert from "node:assert/strict";
import { test } from "node:test";
import { testDigest } from "../../../test/support/agent/facts.ts";
import { parseReference } from "../../oci/reference.ts";
import { type Action, keyOf } from "../decide/action.ts";
import { Runner } from "./runner.ts";

const reference = parseReference("web:1");
const resolve = (name: string): Action => ({ type: "resolve", name, reference });
const fetch = (word: string): Action => ({
  type: "fetch",
  digest: testDigest(word),
  reference,
  names: [],
  sets: [],
  isGated: false,
});
const inject = (disk: string): Action => ({ type: "inject", disk, path: "/d", force: false, keepTags: [], names: [] });
const chains = (disk: string): Action => ({ type: "chains", disk, path: "/d", keepTags: [] });
const eject = (disk: string): Action => ({ type: "eject", disk });

/** A runner whose actions end when told to, or with their signal. */
function makeRunner() {
  const started: string[] = [];
  const ends = new Map<string, () => void>();
  const aborted: string[] = [];
  const runner = new Runner({
    run: (action, signal) => {
      const key = keyOf(action);
      started.push(`${action.type} ${key}`);
      return new Promise<void>((done) => {
        ends.set(key, done);
        signal.addEventListener("abort", () => {
          aborted.push(`${action.type} ${key}`);
          done();
        });
      });
    },
    onEnd: () => {},
  });
  const end = async (action: Action) => {
    ends.get(keyOf(action))?.();
    await new Promise(setImmediate);
  };
  return { runner, started, aborted, end };
}

test("nothing runs twice at once, and what ended waits for a new look", async () => {
  const { runner, started, end } = makeRunner();
  runner.follow([fetch("a")]);
  runner.follow([fetch("a")]);
  assert.equal(started.length, 1);
  await end(fetch("a"));
  runner.follow([fetch("a")]);
  assert.equal(started.length, 1, "the world was looked at before it ended");
  runner.clearEnded();
  runner.follow([fetch("a")]);
  assert.equal(started.length, 2);
});

test("what nobody wants any more is broken off, where that costs nothing", async () => {
  const { runner, aborted, end } = makeRunner();
  runner.follow([fetch("a"), resolve("b"), inject("c")]);
  runner.follow([]);
  assert.deepEqual(aborted.sort(), [`fetch fetch ${testDigest("a")}`, "resolve resolve b"]);
  await end(inject("c"));
});

test("chains give way to any injection and ejection, and an injection to the ejection of its disk", () => {
  const { runner, aborted } = makeRunner();
  runner.follow([chains("a")]);
  runner.follow([chains("a")]);
  assert.deepEqual(aborted, []);
  runner.follow([chains("a"), inject("b")]);
  assert.deepEqual(aborted, ["chains disk a"]);
  runner.follow([eject("b")]);
  assert.deepEqual(aborted, ["chains disk a", "inject disk b"]);
});

test("of a kind so many run side by side as there are places", async () => {
  const { runner, started, end } = makeRunner();
  const wanted = Array.from({ length: 20 }, (_, index) => resolve(`tag ${index}`));
  runner.follow(wanted);
  assert.equal(started.length, 8);
  await end(resolve("tag 0"));
  runner.follow(wanted);
  assert.equal(started.length, 9);
});

test("a person's wish breaks off what runs with that disk, and nothing is begun meanwhile", async () => {
  const { runner, started, aborted } = makeRunner();
  runner.follow([inject("a")]);
  const result = await runner.take("disk a", async () => {
    assert.deepEqual(aborted, ["inject disk a"]);
    runner.clearEnded();
    runner.follow([inject("a")]);
    return "done";
  });
  assert.equal(result, "done");
  assert.equal(started.length, 1);
  assert.equal(runner.isIdle, true);
});

test("stopping breaks off everything and waits for it", async () => {
  const { runner, aborted } = makeRunner();
  runner.follow([inject("a"), fetch("b")]);
  await runner.stop(new Error("the end"));
  assert.equal(aborted.length, 2);
  assert.equal(runner.isIdle, true);
});
