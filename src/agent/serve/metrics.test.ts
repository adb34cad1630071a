import assert from "node:assert/strict";
import { test } from "node:test";
import { Metrics } from "./metrics.ts";

test("counters, gauges and histograms have the text form of Prometheus", () => {
  const metrics = new Metrics();
  const bytes = metrics.counter({
    name: "nodewarm_fetched_bytes_total",
    labels: ["source"],
    help: "Bytes that came in.",
  });
  metrics.gauge({ name: "nodewarm_images", labels: ["phase"], help: "Images by phase." }, () => [
    { labels: { phase: "Warm" }, value: 3 },
    { labels: { phase: "Failed" }, value: 0 },
  ]);
  const seconds = metrics.histogram(
    { name: "nodewarm_warm_seconds", labels: ["source"], help: "How long images took." },
    [0.5, 10],
  );
  bytes.add({ source: "registry" }, 1000);
  bytes.add({ source: "registry" });
  for (const value of [0.1, 0.5, 3, 60]) seconds.observe(value, { source: "disk" });
  assert.equal(
    metrics.render(),
    `# HELP nodewarm_fetched_bytes_total Bytes that came in.
# TYPE nodewarm_fetched_bytes_total counter
nodewarm_fetched_bytes_total{source="registry"} 1001
# HELP nodewarm_images Images by phase.
# TYPE nodewarm_images gauge
nodewarm_images{phase="Warm"} 3
nodewarm_images{phase="Failed"} 0
# HELP nodewarm_warm_seconds How long images took.
# TYPE nodewarm_warm_seconds histogram
nodewarm_warm_seconds_bucket{source="disk",le="0.5"} 2
nodewarm_warm_seconds_bucket{source="disk",le="10"} 3
nodewarm_warm_seconds_bucket{source="disk",le="+Inf"} 4
nodewarm_warm_seconds_sum{source="disk"} 63.6
nodewarm_warm_seconds_count{source="disk"} 4
`,
  );
});

test("labels are the same in any order, and cannot break out of their quotes", () => {
  const metrics = new Metrics();
  const counter = metrics.counter({ name: "a_total", labels: ["x", "y"], help: "A." });
  counter.add({ x: "1", y: '"\n\\' });
  counter.add({ y: '"\n\\', x: "1" });
  assert.match(metrics.render(), /^a_total\{x="1",y="\\"\\n\\\\"\} 2$/m);
});

test("endless labels take bounded memory, and nothing goes uncounted", () => {
  const metrics = new Metrics();
  const counter = metrics.counter({ name: "a_total", labels: ["host"], help: "A." });
  for (let i = 0; i < 2000; i++) counter.add({ host: `host-${i}` });
  const values = [...metrics.render().matchAll(/^a_total\{.*\} (\d+)$/gm)].map(([, value]) => Number(value));
  assert.ok(values.length <= 501, `${values.length} series`);
  assert.equal(
    values.reduce((sum, value) => sum + value, 0),
    2000,
  );
});

test("a name that is taken, or is none, is refused", () => {
  const metrics = new Metrics();
  const named = (name: string) => () => metrics.counter({ name, labels: [], help: "A." });
  named("a_total")();
  assert.throws(named("a_total"), TypeError);
  assert.throws(named("A-total"), TypeError);
});
