import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { makeSmallDisk } from "../../../test/support/small-disk.ts";
import { readDiskSource } from "../../runtime/host/disk-source.ts";
import { findDiskIDs } from "./disk-ids.ts";

const scope = new AsyncDisposableStack();
const one = `1111222${"3".repeat(57)}`;
const other = `1111222${"4".repeat(57)}`;
let path: string;
let id: string;

before(async () => {
  ({ path } = await makeSmallDisk(scope));
  ({ id } = await readDiskSource(path));
});
after(() => scope.disposeAsync());

describe("the disks to eject", () => {
  it("are named by path, id, or the first digits of the id, each once", async () => {
    assert.deepEqual(await findDiskIDs([path, one.slice(0, 8), one, id], [one, other, id]), [id, one]);
  });

  const refusals: readonly [string, string, RegExp][] = [
    ["too few digits", "1111222", /neither a disk nor an id/],
    ["a name that is no id", "disk.erofs", /disk.erofs is neither a disk nor an id .*injected: 11112223/],
    ["an id that is not injected", "99999999", /no disk 99999999 is injected/],
  ];
  for (const [what, word, message] of refusals) {
    it(`are refused: ${what}`, async () => {
      await assert.rejects(findDiskIDs([word], [one, other]), { name: "CliError", code: "not-found", message });
    });
  }

  it("are refused when a path holds a disk that is not injected", async () => {
    await assert.rejects(findDiskIDs([path], []), { code: "not-found", message: /is not injected; nothing is$/ });
  });

  it("are refused when digits are the beginning of several", async () => {
    const twin = `${one.slice(0, 10)}${"5".repeat(54)}`;
    await assert.rejects(findDiskIDs([one.slice(0, 8)], [one, twin]), { message: /beginning of several ids/ });
  });
});
