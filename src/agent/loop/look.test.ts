import assert from "node:assert/strict";
import { test } from "node:test";
import { AgentSetting } from "../../../test/support/agent/agent-setting.ts";
import { diskIdentity, diskStatus, testDigest } from "../../../test/support/agent/facts.ts";
import type { DiskStatus, User } from "../../runtime/runtime.ts";
import { replaceMethods } from "../serve/replace-methods.ts";
import { Looker } from "./look.ts";

const { signal } = new AbortController();

test("disks are looked at anew when something changes, also while they are being looked at", async () => {
  await using setting = new AgentSetting();
  const parts = setting.parts();
  const asked: PromiseWithResolvers<readonly DiskStatus[]>[] = [];
  const status = () => {
    const answer = Promise.withResolvers<readonly DiskStatus[]>();
    asked.push(answer);
    return answer.promise;
  };
  const looker = new Looker({ ...parts, runtime: replaceMethods(parts.runtime, { status }) });
  const look = async () => (await looker.look(signal, new Set())).injected.length;

  const first = look();
  looker.distrust();
  asked[0]?.resolve([]);
  assert.equal(await first, 0);
  const second = look();
  asked[1]?.resolve([diskStatus(diskIdentity("a", 1, { "docker.io/library/web:1": testDigest("web") }))]);
  assert.equal(await second, 1, "the change is seen");
  assert.equal(await look(), 1);
  assert.equal(asked.length, 2, "nothing has changed since");
});

test("who holds a disk is asked while it is at rest, now and then; nothing is said of others", async () => {
  await using setting = new AgentSetting();
  const parts = setting.parts();
  const asked: string[] = [];
  let answer = async (): Promise<readonly User[]> => [];
  const find = async (_path: string, id: string) => {
    asked.push(id);
    return answer();
  };
  const looker = new Looker({ ...parts, holders: { find } });
  const identity = diskIdentity("a", 1, {});
  const { path } = setting.putDisk(identity, []);
  const holders = async (ids: readonly string[]) => (await looker.look(signal, new Set(ids))).holders;

  assert.equal((await holders([])).has(path), false);
  assert.deepEqual(asked, []);
  assert.deepEqual((await holders([identity.id])).get(path), []);
  await holders([identity.id]);
  assert.equal(asked.length, 1, "not at each look");
  assert.equal((await holders([])).has(path), false, "what was known is not told any more");
  answer = () => Promise.reject(new Error("not now"));
  const unknown = await holders([identity.id]);
  assert.deepEqual([unknown.has(path), unknown.get(path)], [true, undefined]);
  await holders([identity.id]);
  assert.equal(asked.length, 2, "what fails is not asked at each look either");
});
