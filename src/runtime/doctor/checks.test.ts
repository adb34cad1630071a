import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { Configuration } from "../containerd/configuration.ts";
import { configPath } from "../containerd/configuration.ts";
import { parseMountTable } from "../host/mount-table.ts";
import type { Finding } from "./finding.ts";
import { checkFileSystem, checkRootMount } from "./host-checks.ts";
import { checkErofs, checkKernel, checkOverlayfs } from "./machine-checks.ts";
import { judgePauseImage } from "./pause-image.ts";
import { checkHandlers, checkSharing, checkSnapshotter } from "./snapshotter-checks.ts";
import { checkUserNamespaces, checkVersion } from "./version-checks.ts";

function configuration(table: Readonly<Record<string, unknown>>): Configuration {
  const value = (...keys: readonly string[]) => table[keys.join("/")];
  return { path: "/etc/c.toml", problems: [], value, values: (...keys) => [value(...keys)] };
}
const nothing = configuration({});
const snapshotsFolder = "/root/erofs/snapshots";

function assertFinding(finding: Finding, result: Finding["result"], text: RegExp): void {
  assert.equal(finding.result, result, finding.message);
  assert.match(`${finding.message}\n${finding.wayOut ?? ""}`, text);
  assert.equal(finding.wayOut === undefined, result === "ok", "there is a way out of what is not ok");
}

describe("doctor", () => {
  it("judges the kernel by what disks need", () => {
    const kernel = (major: number, minor: number) =>
      checkKernel({ release: `${major}.${minor}.0`, version: { major, minor } });
    assertFinding(kernel(4, 19), "failure", /5\.4 or later/);
    assertFinding(kernel(5, 4), "warning", /block devices/);
    assertFinding(kernel(5, 10), "warning", /nodewarm inspect/);
    assertFinding(kernel(5, 15), "ok", /^Linux 5\.15\.0/);
    assertFinding(checkErofs({ erofs: "missing", release: "6.8.0-aws" }), "failure", /linux-modules-extra-6\.8\.0-aws/);
    assertFinding(checkErofs({ erofs: "module", release: "6.8" }), "ok", /loaded with the first mount/);
    assertFinding(checkOverlayfs("missing"), "failure", /overlayfs/);
  });

  it("knows which versions of containerd do not tell kubelet of pinned images", () => {
    for (const version of ["1.6.20~ds1", "v1.6.21", "1.7.2"])
      assertFinding(checkVersion(version, true), "warning", /collected/);
    for (const version of ["1.6.22", "v1.7.3", "1.7.24~ds1", "v2.0.0", "2.4.2+unknown"])
      assertFinding(checkVersion(version, true), "ok", /containerd/);
    assertFinding(checkVersion("1.6.20", false), "ok", /1\.6\.20/);
    assertFinding(checkVersion("1.5.9", true), "failure", /1\.6 or later/);
    assertFinding(checkVersion("main", true), "warning", /no release/);
  });

  it("knows which versions start user-namespaced pods from injected images", () => {
    const can = { isSupported: true } as const;
    assertFinding(checkUserNamespaces("1.7.24", can), "ok", /copies/);
    for (const version of ["2.0.7", "2.1.9", "2.2.7"])
      assertFinding(checkUserNamespaces(version, can), "warning", /hostUsers: false/);
    assertFinding(checkUserNamespaces("2.3.0", can), "ok", /ID-mapped/);
    const cannot = { isSupported: false, reason: "no such mounts" } as const;
    assertFinding(checkUserNamespaces("2.4.2", cannot), "warning", /no such mounts/);
  });

  it("refuses snapshotters that disks are not for", () => {
    assertFinding(
      checkSnapshotter({ snapshotter: "overlayfs", version: "1.6.20", snapshotsFolder }, nothing),
      "ok",
      /overlayfs/,
    );
    assertFinding(
      checkSnapshotter({ snapshotter: "native", version: "2.4.2", snapshotsFolder }, nothing),
      "failure",
      /"native".*\n.*overlayfs/,
    );
    assertFinding(
      checkSnapshotter({ snapshotter: "erofs", version: "2.3.4", snapshotsFolder }, nothing),
      "failure",
      /2\.4 or later/,
    );
  });

  it("prints the lines that the EROFS snapshotter lacks", () => {
    const erofs = { snapshotter: "erofs", version: "2.4.2", snapshotsFolder };
    const caches = { "plugins/io.containerd.snapshotter.v1.erofs/layer_content_caches": ["/root/erofs/nodewarm"] };
    const unpack = { "plugins/io.containerd.transfer.v1.local/unpack_config": [{ snapshotter: "erofs" }] };
    const all = checkSnapshotter(erofs, nothing);
    assertFinding(
      all,
      "failure",
      /^\[plugins\."io\.containerd\.snapshotter\.v1\.erofs"\]\nlayer_content_caches = \["\//m,
    );
    assert.match(
      all.wayOut ?? "",
      /^\[\[plugins\."io\.containerd\.transfer\.v1\.local"\.unpack_config\]\]\nplatform = "linux\//m,
    );
    const half = checkSnapshotter(erofs, configuration(caches));
    assertFinding(half, "failure", /unpack_config/);
    assert.doesNotMatch(half.wayOut ?? "", /layer_content_caches/);
    assertFinding(checkSnapshotter(erofs, configuration({ ...caches, ...unpack })), "ok", /\/root\/erofs\/nodewarm/);
  });

  it("names runtime handlers on other snapshotters, and what isolation costs", () => {
    assertFinding(checkHandlers({ snapshotter: "overlayfs", otherHandlers: [] }), "ok", /all use overlayfs/);
    const otherHandlers = [{ name: "kata", snapshotter: "devmapper" }];
    assertFinding(
      checkHandlers({ snapshotter: "overlayfs", otherHandlers }),
      "warning",
      /"kata" uses devmapper.*default-only/s,
    );
    assertFinding(checkSharing({ sharingPolicy: "isolated" }), "warning", /content_sharing_policy/);
    assertFinding(checkSharing({ sharingPolicy: undefined }), "ok", /shared/);
  });

  it("looks at the mount under containerd's files, and at the root", () => {
    const table = (root: string, data: string) =>
      parseMountTable(Buffer.from(`1 1 8:1 / / rw ${root}- ext4 /dev/sda1 rw\n2 1 8:2 / /var/lib ${data} rw\n`));
    const snapshotsFolder = "/var/lib/containerd/x/snapshots";
    const check = (data: string) => checkFileSystem({ snapshotsFolder }, table("", data));
    assertFinding(check("rw - xfs /dev/sdb"), "ok", /lies on xfs/);
    assertFinding(check("ro - xfs /dev/sdb"), "failure", /read-only/);
    assertFinding(check("rw - nfs4 server:/x"), "warning", /nfs4/);
    assertFinding(checkRootMount(table("shared:1 ", "rw - xfs /dev/sdb")), "ok", /shared/);
    assertFinding(checkRootMount(table("", "rw - xfs /dev/sdb")), "warning", /make-rshared/);
  });

  it("wants the pause image on the node itself", () => {
    const name = "registry.k8s.io/pause:3.10";
    const image = (labels: Readonly<Record<string, string>>) => {
      const target = { mediaType: "m", digest: `sha256:${"1".repeat(64)}`, size: 1 } as const;
      return { name, target, labels, createdAt: undefined, updatedAt: undefined };
    };
    assertFinding(judgePauseImage([name], [image({})]), "ok", /on the node itself/);
    assertFinding(judgePauseImage([name], []), "warning", /crictl pull/);
    const ours = { "nodewarm.io/disk": "a", "nodewarm.io/name": name };
    assertFinding(judgePauseImage([name], [image(ours)]), "failure", /is on a disk/);
    // The tag was pulled again since, the id is still ours.
    const id = { ...image({ "nodewarm.io/disk": "a" }), name: "sha256:2" };
    assertFinding(judgePauseImage([name], [image({}), id]), "failure", /is on a disk/);
  });

  it("finds the configuration file on the daemon's command line", () => {
    const cases: readonly [readonly string[], string][] = [
      [["containerd"], "/etc/containerd/config.toml"],
      [["containerd", "-c", "/a"], "/a"],
      [["containerd", "--config", "/b", "--log-level", "info"], "/b"],
      [["containerd", "--config=/c"], "/c"],
    ];
    for (const [command, path] of cases) assert.equal(configPath(command), path);
  });
});
