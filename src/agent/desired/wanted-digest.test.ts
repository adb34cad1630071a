import assert from "node:assert/strict";
import { test } from "node:test";
import { diskIdentity, diskStatus, testDigest } from "../../../test/support/agent/facts.ts";
import { imageSet } from "../../../test/support/agent/image-set.ts";
import { listImages } from "./listed-images.ts";
import { type DigestFacts, wishOfTag } from "./wanted-digest.ts";

const name = "docker.io/library/web:1";
const nothing: DigestFacts = {
  known: undefined,
  told: undefined,
  record: undefined,
  disks: [],
  injected: [],
  isWarm: () => false,
  isStuck: () => false,
  isMissing: () => false,
  isOnDisk: () => false,
};

const wantedDigest = (...asked: Parameters<typeof wishOfTag>) => wishOfTag(...asked).wanted;

function listed(refresh: "Never" | { interval: string } = { interval: "5m" }) {
  const [image = assert.fail()] = listImages([imageSet("a", { images: [{ ref: "web:1", refresh }] })], {}).images;
  return image;
}

const disk = (line: string, sequence: number, digest: string) =>
  diskIdentity(line, sequence, { [name]: testDigest(digest) });
const record = (digest: string, from?: { readonly disk: string }) => ({
  name,
  digest: testDigest(digest),
  origin: from === undefined ? ({ from: "elsewhere" } as const) : ({ from: "disk", disk: from.disk } as const),
  isPinned: false,
});
const known = (digest: string) => ({ digest: testDigest(digest), atSeconds: 0 });

test("of a tag the registry's last word counts before the node's record, and that before disks", () => {
  const disks = [disk("a", 1, "disk")];
  const image = listed();
  const facts = { ...nothing, known: known("registry"), record: record("node"), disks };
  assert.deepEqual(wantedDigest(image, facts)?.digest, testDigest("registry"));
  assert.deepEqual(wantedDigest(image, { ...facts, known: undefined })?.digest, testDigest("node"));
  assert.deepEqual(wantedDigest(image, { ...nothing, disks })?.digest, testDigest("disk"));
  assert.equal(wantedDigest(image, nothing), undefined);
});

test("a newer disk does not change what the registry said of a tag that is refreshed", () => {
  const disks = [disk("a", 2, "newer"), disk("a", 1, "registry")];
  assert.deepEqual(
    wantedDigest(listed(), { ...nothing, known: known("registry"), disks })?.digest,
    testDigest("registry"),
  );
});

test("without a word of the registry, a newer disk of the line that the node's record is from changes the digest", () => {
  const [older, newer] = [disk("a", 1, "older"), disk("a", 2, "newer")];
  const facts = {
    ...nothing,
    record: record("older", { disk: older.id }),
    disks: [newer],
    injected: [diskStatus(older)],
  };
  assert.deepEqual(wantedDigest(listed(), facts)?.digest, testDigest("newer"));
});

test("with Never a digest is changed by a newer disk of the same line, and by no other", () => {
  const image = listed("Never");
  const knownFromDisk = { ...known("first"), disk: { line: "a", sequence: 5 } };
  const from = (line: string, sequence: number) =>
    wantedDigest(image, { ...nothing, known: knownFromDisk, disks: [disk(line, sequence, "other")] })?.digest;
  assert.equal(from("a", 6), testDigest("other"));
  assert.equal(from("a", 5), testDigest("first"));
  assert.equal(from("a", 4), testDigest("first"));
  assert.equal(from("b", 9), testDigest("first"));
});

test("with Never what the registry said holds until a newer disk replaces one that agreed with it", () => {
  const image = listed("Never");
  const [agreeing, newer] = [disk("a", 1, "first"), disk("a", 2, "other")];
  const facts = { ...nothing, known: known("first") };
  assert.equal(wantedDigest(image, { ...facts, disks: [newer] })?.digest, testDigest("first"));
  assert.equal(wantedDigest(image, { ...facts, disks: [newer, agreeing] })?.digest, testDigest("other"));
  assert.equal(
    wantedDigest(image, { ...facts, disks: [newer], injected: [diskStatus(agreeing)] })?.digest,
    testDigest("other"),
  );
});

test("of several disks the newest that has the name speaks", () => {
  const empty = diskIdentity("a", 9, {});
  assert.equal(
    wantedDigest(listed(), { ...nothing, disks: [empty, disk("a", 3, "three")] })?.digest,
    testDigest("three"),
  );
});

test("a digest is itself", () => {
  const ref = `web@${testDigest("x")}`;
  const [image = assert.fail()] = listImages([imageSet("a", { images: [{ ref }] })], {}).images;
  assert.equal(wantedDigest(image, { ...nothing, known: known("other") })?.digest, testDigest("x"));
});

test("what the registry says counts once it is warm, or while nothing else is; until then it is next", () => {
  const [image, told] = [listed(), testDigest("told")];
  const warm = (...words: readonly string[]) => ({
    isWarm: (digest: string) => words.map(testDigest).some((each) => each === digest),
  });
  const facts = { ...nothing, known: known("good"), told };
  const inShort = (more: Partial<DigestFacts>) => {
    const { wanted, next } = wishOfTag(image, { ...facts, ...more });
    return [wanted?.digest, next];
  };
  const good = testDigest("good");
  assert.deepEqual(inShort(warm("good")), [good, told]);
  assert.deepEqual(inShort(warm("good", "told")), [told, undefined]);
  assert.deepEqual(inShort(warm()), [told, undefined]);
  assert.deepEqual(inShort({ ...warm(), isStuck: () => true }), [good, told]);
  assert.deepEqual(inShort({ ...warm("good"), isOnDisk: () => true }), [told, undefined]);
  assert.deepEqual(inShort({ told: good }), [good, undefined]);
  assert.deepEqual(inShort({ known: undefined }), [told, undefined]);
  assert.deepEqual(inShort({ ...warm("node"), known: undefined, record: record("node") }), [testDigest("node"), told]);
  const never = wishOfTag(listed("Never"), { ...facts, ...warm("told") });
  assert.deepEqual([never.wanted?.digest, never.next], [good, undefined]);
});

test("with Never what the registry says takes the place of a digest that it does not have, and nothing else gives", () => {
  const facts = { ...nothing, known: known("good"), told: testDigest("told"), isMissing: () => true };
  const wantedOf = (more: Partial<DigestFacts>) => wantedDigest(listed("Never"), { ...facts, ...more })?.digest;
  assert.equal(wantedOf({}), testDigest("told"));
  assert.equal(wantedOf({ isWarm: () => true }), testDigest("good"));
  assert.equal(wantedOf({ isOnDisk: () => true }), testDigest("good"));
  assert.equal(wantedOf({ isMissing: () => false }), testDigest("good"));
  assert.equal(wantedOf({ told: undefined }), testDigest("good"));
});
