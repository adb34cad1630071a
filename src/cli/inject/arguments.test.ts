import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { nodeLayout } from "../../publish/seed/node-layout.ts";
import { UsageError } from "../usage-error.ts";
import { parseEjectArguments, parseInjectArguments } from "./arguments.ts";

describe("the arguments of inject", () => {
  it("mean all images, quickly verified, into every runtime, unless they say otherwise", () => {
    assert.deepEqual(parseInjectArguments(["a.erofs", "/dev/sdb"]), {
      disks: ["a.erofs", "/dev/sdb"],
      request: { runtime: "auto" },
      socket: nodeLayout.socket,
      images: [],
      handlers: "all",
      verify: "quick",
      wait: true,
      force: false,
      json: false,
    });
  });

  it("are read with every option", () => {
    const words = [
      "d",
      "--runtime=containerd",
      "--address",
      "/s",
      "--namespace",
      "x",
      "--socket=/run/agent.sock",
      "--image",
      "nginx",
      "--image=a/b@",
    ];
    const digest = `sha256:${"1".repeat(64)}`;
    words[words.length - 1] += digest;
    const more = ["--handlers", "default-only", "--verify", "full", "--no-wait", "--force", "--json"];
    const given = parseInjectArguments([...words, ...more]);
    assert.deepEqual(given?.request, { runtime: "containerd", address: "/s", namespace: "x" });
    assert.equal(given?.socket, "/run/agent.sock");
    assert.deepEqual(
      given?.images.map(({ name }) => name),
      ["docker.io/library/nginx:latest", `docker.io/a/b@${digest}`],
    );
    const { handlers, verify, wait, force, json } = given ?? {};
    assert.deepEqual([handlers, verify, wait, force, json], ["default-only", "full", false, true, true]);
  });

  it("ask for help before anything else counts", () => {
    assert.equal(parseInjectArguments(["--help"]), undefined);
    assert.equal(parseEjectArguments(["x", "-h"]), undefined);
  });

  const refusals: readonly [readonly string[], RegExp][] = [
    [[], /no disk/],
    [["d", "d"], /d is given twice/],
    [[""], /empty/],
    [["d", "--adress", "/s"], /unknown option "--adress"; did you mean "--address"/],
    [["d", "--runtime", "podman"], /--runtime "podman": give auto, containerd or docker/],
    [["d", "--runtime", "dokcer"], /did you mean "docker"/],
    [["d", "--runtime", "docker", "--namespace", "x"], /--namespace is for containerd/],
    [["d", "--namespace", "../x"], /cannot be a namespace/],
    [["d", "--address", ""], /--address is empty/],
    [["d", "--address", "/a", "--address", "/b"], /--address is given twice/],
    [["d", "--image", "Nginx:1"], /--image: .*lower case/],
    [["d", "--handlers", "some"], /--handlers "some": give all or default-only/],
    [["d", "--verify", "quickly"], /--verify "quickly": give quick or full/],
  ];
  for (const [args, message] of refusals) {
    it(`are refused: ${JSON.stringify(args)}`, () => {
      assert.throws(
        () => parseInjectArguments(args),
        (error) => error instanceof UsageError && message.test(error.message),
      );
    });
  }
});

describe("the arguments of eject", () => {
  it("name disks, or all", () => {
    assert.deepEqual(parseEjectArguments(["ab12cd34", "--wait"])?.disks, ["ab12cd34"]);
    assert.deepEqual(parseEjectArguments(["--all", "--materialize"]), {
      disks: "all",
      request: { runtime: "auto" },
      socket: nodeLayout.socket,
      wait: false,
      materialize: true,
      json: false,
    });
  });

  it("must say which", () => {
    assert.throws(() => parseEjectArguments([]), /no disk: name a file, a block device, an id, or --all/);
    assert.throws(() => parseEjectArguments(["x", "--all"]), /--all ejects every disk/);
  });
});
