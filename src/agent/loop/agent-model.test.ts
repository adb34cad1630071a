import { test } from "node:test";
import fc from "fast-check";
import { AgentModel, disks, type Name, names, versions } from "../../../test/support/agent/agent-model.ts";
import type { AgentSetting } from "../../../test/support/agent/agent-setting.ts";
import { RuntimeError } from "../../runtime/runtime-error.ts";

/** Seeds that found something once. */
const keptSeeds: readonly number[] = [1, 2, 13, 102, 104];
/** `NODEWARM_SEED=5 NODEWARM_RUNS=1000` looks for more. */
const { NODEWARM_SEED: given, NODEWARM_RUNS: runs = 40 } = process.env;

type Command = fc.AsyncCommand<AgentModel, AgentSetting>;

function command(name: string, run: (model: AgentModel) => void | Promise<void>): Command {
  return {
    check: () => true,
    run: async (model) => {
      await run(model);
      await model.setting.settle();
    },
    toString: () => name,
  };
}

const someName = fc.constantFrom<Name>(...names);
const version = fc.constantFrom(...versions);
const disk = fc.nat(disks.length - 1);
const wish = fc.record({
  gate: fc.boolean(),
  refresh: fc.constantFrom("Never", "1m", "10m"),
  priority: fc.integer({ min: -2, max: 2 }),
});

const commands: readonly fc.Arbitrary<Command>[] = [
  fc
    .oneof(fc.constantFrom(20, 100, 150, 1000, 5000), fc.constantFrom(60_000, 330_000, 700_000, 4_000_000))
    .map((ms) => command(`${ms} ms pass`, (model) => model.setting.advance(ms))),
  fc
    .tuple(fc.constantFrom(0 as const, 1 as const), someName, fc.option(wish, { nil: undefined }))
    .map(([set, name, wished]) =>
      command(`set ${set} lists ${name} ${JSON.stringify(wished)}`, (model) => model.list(set, name, wished)),
    ),
  fc
    .tuple(someName, version)
    .map(([name, to]) => command(`the tag ${name} moves to ${to}`, (m) => m.moveTag(name, to))),
  someName.map((name) => command(`the registry lies about ${name}`, (m) => m.lie(name))),
  fc
    .tuple(fc.nat(1), fc.boolean())
    .map(([host, isDown]) =>
      command(`registry ${host} is ${isDown ? "down" : "up"}`, (m) => m.breakRegistry(host, isDown)),
    ),
  disk.map((index) => command(`disk ${index} comes`, (m) => m.putDisk(index))),
  fc
    .tuple(disk, fc.boolean())
    .map(([index, isYanked]) =>
      command(`disk ${index} ${isYanked ? "is yanked" : "goes"}`, (m) => m.takeDisk(index, isYanked)),
    ),
  fc
    .tuple(disk, fc.constantFrom("checking", "refused", "broken"))
    .map(([index, state]) => command(`disk ${index} is ${state}`, (m) => m.doubtDisk(index, state))),
  disk.map((index) => command(`disk ${index} is ejected`, (m) => m.eject(index))),
  disk.map((index) => command(`disk ${index} is injected`, (m) => m.inject(index))),
  fc.tuple(someName, version).map(([name, of]) => command(`others pull ${name} ${of}`, (m) => m.pull(name, of))),
  someName.map((name) => command(`others remove ${name}`, (m) => m.remove(name))),
  someName.map((name) => command(`others remove the name ${name}`, (m) => m.removeName(name))),
  someName.map((name) => command(`a container of ${name} starts`, (m) => m.run(name))),
  fc.constant(command("a container ends", (m) => m.endContainer())),
  fc.constant(command("garbage is collected", (m) => m.setting.node.others.collectGarbage())),
  fc.constant(command("the runtime stops", (m) => m.stopRuntime())),
  fc.constant(command("the runtime starts", (m) => m.startRuntime())),
  fc
    .boolean()
    .map((are) => command(`events are ${are ? "" : "not "}swallowed`, (m) => m.setting.node.others.swallowEvents(are))),
  fc
    .boolean()
    .map((keeps) => command(`the agent restarts ${keeps ? "with" : "without"} its state`, (m) => m.restart(keeps))),
  fc
    .constantFrom("observe", "fetch", "setName", "release")
    .map((method) =>
      command(`the next ${method} fails`, (m) =>
        m.setting.node.others.failNext(method, new RuntimeError("internal", "out of luck")),
      ),
    ),
  fc.constantFrom(10, 78, 90).map((percent) =>
    command(`the file systems are ${percent} % full`, (m) => {
      m.setting.space.percent = percent;
    }),
  ),
  fc.constantFrom(10, 78, 90).map((percent) =>
    command(`${percent} % of all inodes are in use`, (m) => {
      m.setting.space.inodePercent = percent;
    }),
  ),
  fc.constant(command("a look at the node shows nonsense", (m) => m.breakLook())),
  fc.constantFrom(0, 30, 400, 5000).map((ms) =>
    command(`calls take ${ms} ms`, (m) => {
      m.setting.latencyMs = ms;
    }),
  ),
  fc.constantFrom("", "busy").map((pressure) =>
    command(`pressure: ${pressure}`, (m) => {
      m.setting.pressure = pressure;
    }),
  ),
];

test("whatever happens, all is as wished in the end", async () => {
  for (const seed of given === undefined ? keptSeeds : [Number(given)]) {
    const property = fc.asyncProperty(fc.commands([...commands], { maxCommands: 40, size: "max" }), async (steps) => {
      const model = new AgentModel();
      await using _ = model.setting;
      await model.begin();
      await fc.asyncModelRun(() => ({ model, real: model.setting }), steps);
      await model.checkInTheEnd();
    });
    await fc.assert(property, { seed, numRuns: Number(runs) });
  }
});
