import assert from "node:assert/strict";
import { test } from "node:test";
import { type Health, serveHealth } from "./health-server.ts";

const health: Health = {
  problem: () => undefined,
  gate: () => ({ isReady: true, reason: "all gated images are warm" }),
  metrics: () => "nodewarm_images 1\n",
};

async function ask(path: string, more: Partial<Health> = {}, init: RequestInit = {}): Promise<string> {
  await using server = await serveHealth("127.0.0.1:0", { ...health, ...more });
  const answer = await fetch(`http://${server.address}${path}`, init);
  return `${answer.status} ${await answer.text()}`;
}

test("an agent that turns is healthy, one that hangs says why not", async () => {
  assert.equal(await ask("/healthz"), "200 ok\n");
  assert.equal(
    await ask("/healthz", { problem: () => "containerd has not answered for 90 s" }),
    "503 containerd has not answered for 90 s\n",
  );
});

test("ready is what the gate says", async () => {
  assert.equal(await ask("/readyz"), "200 all gated images are warm\n");
  const gate = () => ({ isReady: false, reason: "waits for 2 images of set shop" });
  assert.equal(await ask("/readyz?verbose", { gate }), "503 waits for 2 images of set shop\n");
});

test("metrics are served as they are", async () => {
  assert.equal(await ask("/metrics"), "200 nodewarm_images 1\n");
});

test("what there is not, and what may not be, is said", async () => {
  assert.match(await ask("/status"), /^404 .*\/metrics/);
  assert.match(await ask("/metrics", {}, { method: "POST" }), /^405 /);
});

test("an address that is none, or taken, is refused with the way out", async () => {
  for (const listen of ["9470", "127.0.0.1", "127.0.0.1:99999", "::1:9470"]) {
    await assert.rejects(serveHealth(listen, health), { code: "invalid-configuration", message: /give HOST:PORT/ });
  }
  await using server = await serveHealth("127.0.0.1:0", health);
  await assert.rejects(serveHealth(server.address, health), { code: "invalid-configuration", message: /--listen/ });
});
