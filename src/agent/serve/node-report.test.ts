import assert from "node:assert/strict";
import { test } from "node:test";
import type { AgentStatus } from "../status.ts";
import { NodeReport } from "./node-report.ts";

function status(isReady: boolean, more: Partial<AgentStatus> = {}): AgentStatus {
  const gate = { isReady, reason: isReady ? "all gated images are warm" : "waits for 1 image" };
  return {
    runtime: "containerd",
    images: [],
    disks: [],
    sets: [],
    gate,
    conditions: [],
    ...more,
  };
}

/** A report over statuses that the test changes, and what the service manager was told. */
function reporting(statuses: AgentStatus[]) {
  const told: string[] = [];
  const manager = {
    ready: () => told.push("ready"),
    status: (text: string) => told.push(text),
    stopping: () => told.push("stopping"),
  };
  const report = new NodeReport({ statuses: () => statuses, manager });
  const change = () =>
    report.follow(
      (async function* () {
        yield;
      })(),
    );
  return { report, told, change };
}

test("workloads may come when they may in each runtime, and from then on", async () => {
  const statuses: AgentStatus[] = [];
  const { report, told, change } = reporting(statuses);
  assert.deepEqual(report.gate(), { isReady: false, reason: "no container runtime was found yet" });
  statuses.push(status(true), status(false));
  await change();
  assert.deepEqual(report.gate(), { isReady: false, reason: "waits for 1 image" });
  statuses[1] = status(true);
  await change();
  assert.equal(report.gate().isReady, true);
  assert.deepEqual(
    told.filter((each) => each === "ready"),
    ["ready"],
  );
  statuses[1] = status(false);
  await change();
  assert.equal(report.gate().isReady, true);
  assert.deepEqual(
    told.filter((each) => each === "ready"),
    ["ready"],
  );
});

test("a runtime that is down is no illness of the agent, a loop that hangs or fails is", () => {
  const statuses = [status(true, { conditions: [{ type: "RuntimeUnavailable", message: "it is down" }] })];
  const { report } = reporting(statuses);
  assert.equal(report.problem(), undefined);
  statuses[0] = status(true, { conditions: [{ type: "LoopStuck", message: "no look at the node for 300 s" }] });
  assert.equal(report.problem(), "containerd: no look at the node for 300 s");
  statuses[0] = status(true, { conditions: [{ type: "LoopFailed", message: "it failed to decide" }] });
  assert.equal(report.problem(), "containerd: it failed to decide");
});
