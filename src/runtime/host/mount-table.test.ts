import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { HostError } from "./host-error.ts";
import {
  lowerDirectories,
  type MountEntry,
  MountTable,
  parseMountTable,
  propagation,
  readMountTable,
} from "./mount-table.ts";

test("a line is taken apart field by field", () => {
  const { entries } = parseMountTable(
    Buffer.from(
      "36 35 98:0 /mnt1 /mnt\\0402 rw,noatime shared:7 master:1 propagate_from:2 future:x - ext3.sub /dev/ro\\134ot rw,errors=continue\n",
    ),
  );
  assert.deepEqual(entries, [
    {
      id: 36,
      parentId: 35,
      device: { major: 98, minor: 0 },
      root: "/mnt1",
      mountPoint: "/mnt 2",
      options: ["rw", "noatime"],
      optionalFields: ["shared:7", "master:1", "propagate_from:2", "future:x"],
      type: "ext3.sub",
      source: "/dev/ro\\ot",
      superOptions: ["rw", "errors=continue"],
    },
  ]);
});

test("an empty source and a mount point called - are no separators", () => {
  const [entry] = parseMountTable(Buffer.from("1 1 0:5 / - rw - tmpfs  rw,size=4k\n")).entries;
  assert.equal(entry?.mountPoint, "-");
  assert.equal(entry?.type, "tmpfs");
  assert.equal(entry?.source, "");
  assert.deepEqual(entry?.superOptions, ["rw", "size=4k"]);
});

test("names in UTF-8 and with line breaks come back as they were", () => {
  const [entry] = parseMountTable(Buffer.from("1 0 0:5 / /ü\\012\\011x rw - tmpfs none rw")).entries;
  assert.equal(entry?.mountPoint, "/ü\n\tx");
});

const name = fc
  .array(fc.constantFrom("a", "/", " ", "\t", "\n", "\\", "ü", "-", ":", "040", "\\040"), { maxLength: 12 })
  .map((parts) => `/${parts.join("")}`);

const word = fc.stringMatching(/^[a-z0-9=_.:]{1,12}$/);

const entries: fc.Arbitrary<MountEntry[]> = fc.array(
  fc.record({
    id: fc.nat(),
    parentId: fc.nat(),
    device: fc.record({ major: fc.nat(4095), minor: fc.nat(0xfffff) }),
    root: name,
    mountPoint: name,
    options: fc.array(word, { minLength: 1, maxLength: 4 }),
    optionalFields: fc.array(
      word.map((text) => `x${text}`),
      { maxLength: 3 },
    ),
    type: word,
    source: fc.oneof(name, fc.constant("")),
    superOptions: fc.array(word, { minLength: 1, maxLength: 4 }),
  }),
);

test("whatever the kernel writes is read as it was meant", () => {
  fc.assert(
    fc.property(entries, (wanted) => {
      assert.deepEqual(parseMountTable(Buffer.from(wanted.map(kernelLine).join(""))).entries, structuredClone(wanted));
    }),
  );
});

test("any bytes give a table or an error that says so", () => {
  const hostile = fc.oneof(
    fc.uint8Array({ maxLength: 200 }),
    fc.string({ unit: fc.constantFrom(..."1 :/-\n\\09a"), maxLength: 100 }).map((text) => Buffer.from(text)),
  );
  fc.assert(
    fc.property(hostile, (bytes) => {
      try {
        parseMountTable(bytes);
      } catch (error) {
        assert.ok(error instanceof HostError && error.code === "unreadable");
      }
    }),
    { numRuns: 500 },
  );
  for (const line of [
    "",
    "1 2 3 / / rw - a b c",
    "1 2 0:1 / / rw a b c",
    "1 2 0:1 / / rw - a b",
    "-1 2 0:1 / / rw - a b c",
  ]) {
    assert.throws(() => parseMountTable(Buffer.from(`${line}\n`)), HostError, line);
  }
});

test("of mounts on top of each other the uppermost counts, whatever their order", () => {
  const lower = entry({ id: 10, parentId: 1, mountPoint: "/a" });
  const middle = entry({ id: 30, parentId: 10, mountPoint: "/a" });
  const upper = entry({ id: 20, parentId: 30, mountPoint: "/a" });
  assert.equal(new MountTable([lower, middle, upper]).at("/a"), upper);
  assert.equal(new MountTable([upper, lower, middle]).at("/a"), upper);
  assert.equal(new MountTable([lower]).at("/b"), undefined);
});

test("below a path are only mounts under it, and a path lies on the nearest mount above", () => {
  const root = entry({ id: 1, parentId: 1, mountPoint: "/" });
  const run = entry({ id: 2, parentId: 1, mountPoint: "/run" });
  const runner = entry({ id: 3, parentId: 1, mountPoint: "/runner" });
  const disk = entry({ id: 4, parentId: 2, mountPoint: "/run/disks/a", device: { major: 7, minor: 3 } });
  const table = new MountTable([root, run, runner, disk]);
  assert.deepEqual(table.below("/run"), [disk]);
  assert.deepEqual(table.below("/"), [run, runner, disk]);
  assert.equal(table.containing("/run/disks/a/b"), disk);
  assert.equal(table.containing("/run/disks/ab"), run);
  assert.equal(table.containing("/runn"), root);
  assert.equal(table.containing("/"), root);
  assert.deepEqual(table.ofDevice({ major: 7, minor: 3 }), [disk]);
});

test("propagation is read from the optional fields", () => {
  assert.deepEqual(propagation(entry({ optionalFields: ["shared:12", "master:3"] })), {
    sharedGroup: 12,
    masterGroup: 3,
  });
  assert.deepEqual(propagation(entry({})), { sharedGroup: undefined, masterGroup: undefined });
});

test("lower directories of overlays are found, with their escapes undone", () => {
  const overlay = (...superOptions: string[]) => entry({ type: "overlay", superOptions });
  assert.deepEqual(lowerDirectories(overlay("rw", "lowerdir=12/fs:/b\\:c:/d\\\\", "upperdir=/u")), [
    "12/fs",
    "/b:c",
    "/d\\",
  ]);
  assert.deepEqual(lowerDirectories(overlay("lowerdir+=/a,x", "lowerdir+=/b")), ["/a,x", "/b"]);
  assert.deepEqual(lowerDirectories(entry({ superOptions: ["lowerdir=/a"] })), []);
});

test("the table of this process names its root", async () => {
  const table = await readMountTable("self");
  assert.equal(table.at("/")?.mountPoint, "/");
  assert.equal(table.at("/proc")?.type, "proc");
});

function entry(fields: Partial<MountEntry>): MountEntry {
  return {
    id: 1,
    parentId: 0,
    device: { major: 0, minor: 1 },
    root: "/",
    mountPoint: "/",
    options: ["rw"],
    optionalFields: [],
    type: "tmpfs",
    source: "none",
    superOptions: ["rw"],
    ...fields,
  };
}

/** As `show_mountinfo` of the kernel (fs/proc_namespace.c) writes it. */
function kernelLine(mount: MountEntry): string {
  const mangle = (text: string) =>
    text.replace(/[ \t\n\\#]/g, (character) => `\\${character.charCodeAt(0).toString(8).padStart(3, "0")}`);
  return `${[
    mount.id,
    mount.parentId,
    `${mount.device.major}:${mount.device.minor}`,
    mangle(mount.root),
    mangle(mount.mountPoint),
    mount.options.join(","),
    ...mount.optionalFields,
    "-",
    mangle(mount.type),
    mangle(mount.source),
    mount.superOptions.join(","),
  ].join(" ")}\n`;
}
