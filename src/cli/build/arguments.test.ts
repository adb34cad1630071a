import assert from "node:assert/strict";
import { test } from "node:test";
import { asUsageError, UsageError } from "../usage-error.ts";
import { type BuildArguments, defaultJobs, parseBuildArguments, pathForPlatform } from "./arguments.ts";

function parse(line: string, env: Record<string, string> = {}): BuildArguments {
  const given = parseBuildArguments(line.split(" ").filter(Boolean), env);
  assert.ok(given);
  return given;
}

function refusal(args: readonly string[], env: Record<string, string> = {}): string {
  try {
    parseBuildArguments(args, env);
  } catch (error) {
    const usage = asUsageError(error);
    assert.ok(usage instanceof UsageError, String(error));
    return usage.message;
  }
  return assert.fail(`accepted: ${args.join(" ")}`);
}

test("a short command line gets every default", () => {
  const given = parse("nginx -o disk.erofs --platform linux/amd64");
  assert.deepEqual(given, {
    images: ["nginx"],
    imageSetFiles: [],
    output: "disk.erofs",
    platforms: [{ os: "linux", architecture: "amd64" }],
    blobs: false,
    erofsCache: false,
    from: undefined,
    line: undefined,
    sequence: undefined,
    authFile: undefined,
    plainHttp: [],
    caFile: undefined,
    hostsDirectory: undefined,
    limits: {},
    jobs: defaultJobs(),
    json: false,
    progress: "auto",
    createdSeconds: undefined,
  });
  assert.ok(given.jobs >= 2 && given.jobs <= 4);
});

test("every option is read", () => {
  const given = parse(
    "a b:1 -f one.yaml --file=- -o disk-{platform}.erofs --platform linux/amd64 --platform linux/arm64 --blobs " +
      "--erofs-cache --from old.erofs --line web --sequence 7 --authfile auth.json --plain-http r.local:5000 " +
      "--plain-http s.local --ca ca.pem --hosts-dir certs.d --limit manifest-bytes=8Mi --jobs 3 --json --progress plain",
    { SOURCE_DATE_EPOCH: "1700000000" },
  );
  assert.deepEqual(given, {
    images: ["a", "b:1"],
    imageSetFiles: ["one.yaml", "-"],
    output: "disk-{platform}.erofs",
    platforms: [
      { os: "linux", architecture: "amd64" },
      { os: "linux", architecture: "arm64", variant: "v8" },
    ],
    blobs: true,
    erofsCache: true,
    from: "old.erofs",
    line: "web",
    sequence: 7,
    authFile: "auth.json",
    plainHttp: ["r.local:5000", "s.local"],
    caFile: "ca.pem",
    hostsDirectory: "certs.d",
    limits: { "manifest-bytes": 8 << 20 },
    jobs: 3,
    json: true,
    progress: "plain",
    createdSeconds: 1_700_000_000,
  });
});

test("without --platform it is linux on this machine's architecture", () => {
  assert.equal(parse("a -o d").platforms[0].os, "linux");
});

test("help wins over everything else that parses", () => {
  assert.equal(parseBuildArguments(["--help"], {}), undefined);
  assert.equal(parseBuildArguments(["-h", "-o", ""], {}), undefined);
});

test("{platform} in a path becomes the platform", () => {
  const [platform] = parse("a -o d --platform linux/arm64").platforms;
  assert.equal(pathForPlatform("disk-{platform}.erofs", platform), "disk-linux-arm64-v8.erofs");
  assert.equal(
    pathForPlatform("{platform}/{platform}.erofs", { os: "linux", architecture: "amd64" }),
    "linux-amd64/linux-amd64.erofs",
  );
  assert.equal(pathForPlatform("disk.erofs", platform), "disk.erofs");
});

test("an empty SOURCE_DATE_EPOCH is as good as none", () => {
  assert.equal(parse("a -o d", { SOURCE_DATE_EPOCH: "" }).createdSeconds, undefined);
});

const refusals: readonly (readonly [line: string, message: string, env?: Record<string, string>])[] = [
  ["nginx", "no -o DISK"],
  ["-o d", "no image"],
  ["a -o", "argument missing"],
  ["a -o d -o e", "--output is given 2 times"],
  ["a -o d --line x --line y", "--line is given 2 times"],
  ["a -o d --line=", "--line is empty"],
  ["a -o d --line a/b", "--line"],
  ["a -o d --sequence -1", "sequence"],
  ["a -o d --sequence=-1", "whole number from 0"],
  ["a -o d --sequence 1e3", "whole number from 0"],
  ["a -o d --sequence 99999999999999999999", "whole number from 0"],
  ["a -o d --jobs 0", "whole number from 1"],
  ["a -o d --jobs 1000", "whole number from 1 to 256"],
  ["a -o d --progress fancy", "auto, plain or none"],
  ["a -o d --platform linux", "no platform"],
  ["a -o d --platform windows/amd64", "linux images only"],
  ["a -o d --platform linux/amd64 --platform linux/arm64", "-o must contain {platform}"],
  ["a -o d-{platform} --platform linux/arm64 --platform linux/aarch64", "--platform linux/arm64/v8 is given twice"],
  ["a -o d --plain-http http://r.local", "give a host"],
  ["a -o d --plain-http r.local/team", "give a host"],
  ["a -o d --limit manifest-bytes", "write NAME=VALUE"],
  ["a -o d --limit manifest-byte=1", 'no such limit; did you mean "manifest-bytes"?'],
  ["a -o d -f - -f -", "standard input can be read once"],
  ["a -o d --blob", 'unknown option "--blob"; did you mean "--blobs"?'],
  ["a -o d --frobnicate", 'unknown option "--frobnicate"'],
  ["a -o d --json=yes", "does not take an argument"],
  ["a -o d -x", "Unknown option '-x'"],
  ["team/Upper -o d", "lower case"],
  ["oci: -o d", "DIR is missing"],
  ["https://r.local/a -o d", "without the scheme"],
  ["a -o d", "SOURCE_DATE_EPOCH", { SOURCE_DATE_EPOCH: "yesterday" }],
  ["a -o d", "SOURCE_DATE_EPOCH", { SOURCE_DATE_EPOCH: "253402300800" }],
];

for (const [line, message, env] of refusals) {
  test(`refuses: build ${line} ${env ? JSON.stringify(env) : ""}`, () => {
    const actual = refusal(line.split(" "), env);
    assert.ok(actual.includes(message), actual);
    assert.ok(!actual.includes("\n"), actual);
  });
}

test("refuses empty words", () => {
  assert.match(refusal(["", "-o", "d"]), /empty/);
  assert.match(refusal(["a", "-o", ""]), /--output is empty/);
});
