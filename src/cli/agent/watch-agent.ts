import { setTimeout as sleep } from "node:timers/promises";
import type { AgentClient } from "../../agent/serve/control-client.ts";
import type { CommandIo } from "../command.ts";
import { TerminalArea } from "../progress/terminal.ts";
import { describeAgent } from "./describe-agent.ts";

const intervalMs = 1000;

/** Shows what an agent does until the user has seen enough: on a terminal in its place, elsewhere whatever is new. */
export async function watchAgent(agent: AgentClient, io: CommandIo, isJson: boolean): Promise<number> {
  const area = io.stdout.isTTY && !isJson ? new TerminalArea(io.stdout) : undefined;
  let last = "";
  try {
    for (;;) {
      const status = await agent.status({ signal: io.signal });
      const text = isJson ? `${JSON.stringify(status)}\n` : status.runtimes.map(describeAgent).join("\n");
      if (area !== undefined) area.draw(text.trimEnd().split("\n"));
      else if (text !== last) io.stdout.write(isJson ? text : `${text}\n`);
      last = text;
      await sleep(intervalMs, undefined, { signal: io.signal });
    }
  } catch (error) {
    if (!io.signal.aborted) throw error;
    return 0;
  } finally {
    area?.close();
  }
}
