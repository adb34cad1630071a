import { setTimeout as sleep } from "node:timers/promises";
import type { AgentClient } from "../../agent/serve/control-client.ts";
import type { AgentStatus } from "../../agent/status.ts";
import type { CommandIo } from "../command.ts";
import { TerminalArea } from "../progress/terminal.ts";
import { describeAgent } from "./describe-agent.ts";

export type WatchOptions = {
  readonly isJson: boolean;
  /** Default: a second. */
  readonly intervalMs?: number;
};

/**
 * Shows what an agent does until the user has seen enough: on a terminal in its place, as far as there are rows; elsewhere and as JSON
 * whenever there is something new. Time that passes is not. Throws `AgentError`, and when the agent is gone what `connect(2)` gives.
 */
export async function watchAgent(
  agent: Pick<AgentClient, "status">,
  io: Pick<CommandIo, "stdout" | "signal">,
  { isJson, intervalMs = 1000 }: WatchOptions,
): Promise<number> {
  const area = io.stdout.isTTY && !isJson ? new TerminalArea(io.stdout) : undefined;
  let last = "";
  try {
    for (;;) {
      const status = await agent.status({ signal: io.signal });
      const text = isJson ? JSON.stringify(status) : status.runtimes.map(describeAgent).join("\n");
      const news = JSON.stringify(status.runtimes.map(withoutTimes));
      if (area !== undefined) area.draw(fitting(text.trimEnd().split("\n"), io.stdout.rows ?? 24));
      else if (news !== last) io.stdout.write(`${text}\n`);
      last = news;
      await sleep(intervalMs, undefined, { signal: io.signal });
    }
  } catch (error) {
    if (!io.signal.aborted) throw error;
    return 0;
  } finally {
    area?.close();
  }
}

function withoutTimes({ images, ...rest }: AgentStatus): object {
  return {
    ...rest,
    images: images.map(({ phaseSeconds, ageSeconds, resolvedSeconds, retryInSeconds, ...image }) => image),
  };
}

/** What is above the first row of a terminal could not be drawn again. */
function fitting(lines: readonly string[], rows: number): readonly string[] {
  const room = Math.max(1, rows - 1);
  if (lines.length <= room) return lines;
  const shown = lines.slice(0, Math.max(0, room - 1));
  return [...shown, `and ${lines.length - shown.length} lines more: see nodewarm status`];
}
