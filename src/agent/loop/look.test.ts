import assert from "node:assert/strict";
import { test } from "node:test";
import { AgentSetting } from "../../../test/support/agent/agent-setting.ts";
import { diskIdentity, diskStatus, testDigest } from "../../../test/support/agent/facts.ts";
import type { DiskStatus } from "../../runtime/runtime.ts";
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
  const look = async () => (await looker.look(signal, () => true)).injected.length;

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

test("who holds a disk is not asked while something is done with it, and nothing is said of it then", async () => {
  await using setting = new AgentSetting();
  const parts = setting.parts();
  const asked: string[] = [];
  const find = async (_path: string, id: string) => {
    asked.push(id);
    return [];
  };
  const looker = new Looker({ ...parts, holders: { find } });
  const { path } = setting.putDisk(diskIdentity("a", 1, {}), []);
  const isSafe = async (isAtRest: boolean) => (await looker.look(signal, () => isAtRest)).holders.has(path);

  assert.equal(await isSafe(false), false);
  assert.deepEqual(asked, []);
  assert.equal(await isSafe(true), true);
  assert.equal(asked.length, 1);
  assert.equal(await isSafe(false), false, "what was known is not told any more");
  assert.equal(await isSafe(true), true);
  assert.equal(asked.length, 2, "and is asked anew");
});
