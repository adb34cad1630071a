import assert from "node:assert/strict";
import { chmod, chown, lchown, mkdir, open, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, test } from "node:test";
import { findProgram, needs, needsRoot } from "../../../test/support/privileges.ts";
import { run } from "../../../test/support/processes.ts";
import { type Scope, temporaryDirectory } from "../../../test/support/temporary.ts";
import { callHere } from "../../runtime/host/system-calls.ts";
import { fileRefusal, fileSystemRefusal, folderRefusal, writersOf } from "./trusted-path.ts";

const nobody = 65534;

async function makeFolder(scope: Scope): Promise<{ work: string; folder: string }> {
  const work = await temporaryDirectory(scope, "trust");
  const folder = join(work, "above/disks");
  await mkdir(folder, { recursive: true });
  return { work, folder };
}

describe("folders", { skip: needsRoot }, () => {
  test("one that only root can write is trusted, also below a sticky folder such as /tmp", async () => {
    await using scope = new AsyncDisposableStack();
    const { work, folder } = await makeFolder(scope);
    assert.equal(await folderRefusal(folder), undefined);
    assert.equal(await folderRefusal(`${folder}/`), undefined);
    assert.equal(await folderRefusal("/"), undefined);
    await chmod(join(work, "above"), 0o1777);
    assert.equal(await folderRefusal(folder), undefined);
    await assert.rejects(folderRefusal(join(work, "none")), { code: "ENOENT" });
  });

  test("one that others can write or own is not, nor is one below it", async () => {
    await using scope = new AsyncDisposableStack();
    const { work, folder } = await makeFolder(scope);
    const above = join(work, "above");
    for (const path of [folder, above]) {
      for (const mode of [0o775, 0o757]) {
        await chmod(path, mode);
        assert.ok((await folderRefusal(folder))?.includes(`${path} can be written`), `${path} ${mode.toString(8)}`);
      }
      await chmod(path, 0o755);
      await chown(path, nobody, 0);
      assert.ok((await folderRefusal(folder))?.includes(`${path} belongs to user ${nobody}`));
      await chown(path, 0, nobody);
      assert.equal(await folderRefusal(folder), undefined, "the group may read");
    }
    await chmod(folder, 0o1777);
    assert.ok(await folderRefusal(folder), "anybody may add files to a sticky folder");
  });

  test("access lists are seen", async () => {
    await using scope = new AsyncDisposableStack();
    const { work, folder } = await makeFolder(scope);
    setAccessList(folder, 0o5);
    assert.equal(await folderRefusal(folder), undefined);
    for (const path of [folder, join(work, "above")]) {
      setAccessList(path, 0o7);
      assert.ok((await folderRefusal(folder))?.includes(path));
      await chmod(path, 0o755);
      assert.equal(await folderRefusal(folder), undefined, "the mask bounds what the list grants");
    }
  });

  test("links are followed through folders that only root can write", async () => {
    await using scope = new AsyncDisposableStack();
    const { work, folder } = await makeFolder(scope);
    await mkdir(join(work, "open"), { mode: 0o755 });
    await symlink(folder, join(work, "absolute"));
    await symlink("../above/../above/disks", join(work, "open/relative"));
    await symlink("loop", join(work, "loop"));
    assert.equal(await folderRefusal(join(work, "absolute")), undefined);
    assert.equal(await folderRefusal(join(work, "open/relative")), undefined);
    assert.match((await folderRefusal(join(work, "loop"))) ?? "", /more than 40 links/);
    await chmod(join(work, "open"), 0o1777);
    assert.match((await folderRefusal(join(work, "open/relative"))) ?? "", /link in a folder that others can write/);
    await chmod(join(work, "open"), 0o755);
    await lchown(join(work, "absolute"), nobody, nobody);
    assert.match((await folderRefusal(join(work, "absolute"))) ?? "", /belongs to user/);
    await chmod(folder, 0o777);
    assert.ok((await folderRefusal(join(work, "open/relative")))?.includes(folder));
  });

  test("where a user can put a file, folders are refused; where not, trusted", { skip: needs("setpriv") }, async () => {
    await using scope = new AsyncDisposableStack();
    const { work, folder } = await makeFolder(scope);
    await chmod(work, 0o755);
    let tried = 0;
    for (const [owner, group] of [
      [0, 0],
      [nobody, 0],
      [0, nobody],
    ] as const) {
      for (const mode of [0o755, 0o775, 0o757, 0o1757, 0o700]) {
        await chown(folder, owner, group);
        await chmod(folder, mode);
        const asNobody = ["--reuid=65534", "--regid=65534", "--clear-groups"];
        const name = join(folder, `${tried++}`);
        const canWrite = await run("setpriv", [...asNobody, findProgram("touch") ?? "touch", name]).then(
          () => true,
          () => false,
        );
        if (canWrite) assert.ok(await folderRefusal(folder), `${owner}:${group} ${mode.toString(8)}`);
        if (owner === 0 && (mode & 0o022) === 0)
          assert.deepEqual([canWrite, await folderRefusal(folder)], [false, undefined]);
      }
    }
  });
});

describe("files", { skip: needsRoot }, () => {
  test("owner and mode decide", () => {
    assert.equal(fileRefusal("/f", { uid: 0n, mode: 0o100644n }), undefined);
    assert.equal(fileRefusal("/f", { uid: 0n, mode: 0o100755n }), undefined);
    assert.match(fileRefusal("/f", { uid: 1000n, mode: 0o100444n }) ?? "", /user 1000/);
    assert.match(fileRefusal("/f", { uid: 0n, mode: 0o100664n }) ?? "", /others than root/);
    assert.match(fileRefusal("/f", { uid: 0n, mode: 0o100646n }) ?? "", /others than root/);
  });

  for (const place of ["the disk of the machine", "tmpfs"]) {
    test(`who writes is known on ${place}, although the name and the owner have changed since`, async () => {
      await using scope = new AsyncDisposableStack();
      const folder = await temporaryDirectory(scope, "trust");
      if (place === "tmpfs") {
        await run("mount", ["-t", "tmpfs", "tmpfs", folder]);
        scope.defer(async () => void (await run("umount", [folder])));
      }
      assert.equal(await fileSystemRefusal(folder), undefined);
      const path = join(folder, "file");
      await writeFile(path, "text");
      await using reader = await open(path, "r");
      const isBusy = () => writersOf(path, reader).isBusy;
      assert.deepEqual(writersOf(path, reader), { isBusy: false, why: "" });
      {
        await using writer = await open(path, "r+");
        assert.equal(isBusy(), true);
        await chown(path, 0, 0);
        assert.equal(isBusy(), true);
        assert.ok(writer.fd > 0);
      }
      assert.equal(isBusy(), false);
      {
        await using _ = await open(path, "a");
        assert.match(writersOf(path, reader).why, /open for writing/);
      }
      await using other = await open(path, "r");
      assert.equal(writersOf(path, other).isBusy, false, "who reads does not matter");
    });
  }

  test("what cannot be leased says so", async () => {
    await using handle = await open("/dev/null", "r");
    const { isBusy, why } = writersOf("/dev/null", handle);
    assert.equal(isBusy, false);
    assert.match(why, /cannot tell/);
  });
});

/** Gives a user rights by a list, as setfacl does (include/uapi/linux/posix_acl_xattr.h). */
function setAccessList(path: string, rights: number): void {
  const entries = [
    [0x01, 7, -1],
    [0x02, rights, nobody],
    [0x04, 5, -1],
    [0x10, rights, -1],
    [0x20, 5, -1],
  ] as const;
  const bytes = Buffer.alloc(4 + 8 * entries.length);
  bytes.writeUInt32LE(2);
  for (const [i, [tag, allowed, id]] of entries.entries()) {
    bytes.writeUInt16LE(tag, 4 + 8 * i);
    bytes.writeUInt16LE(allowed, 6 + 8 * i);
    bytes.writeInt32LE(id, 8 + 8 * i);
  }
  callHere("lsetxattr", Buffer.from(`${path}\0`), "system.posix_acl_access", bytes, bytes.length, 0);
}
