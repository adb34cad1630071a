import type { EjectEvent, User } from "../../runtime/runtime.ts";
import type { Output } from "../command.ts";
import { oneLine } from "../harmless.ts";

/** Tells what an ejection waits for and copies, one line each; the same wait is told once. */
export function createEjectProgress(output: Output): (event: EjectEvent) => void {
  let waitingFor = "";
  return (event) => {
    if (event.type === "materializing") {
      output.write(`copying ${event.tree} to the node\n`);
      return;
    }
    const users = describeUsers(event.users);
    if (users === waitingFor) return;
    waitingFor = users;
    output.write(`waiting for ${users}\n`);
  };
}

/** `container x, image y and 3 more`. */
export function describeUsers(users: readonly User[], mostShown = 5): string {
  const shown = users.slice(0, mostShown).map(({ kind, name }) => `${kind} ${oneLine(name)}`);
  const more = users.length - shown.length;
  return `${shown.join(", ")}${more > 0 ? ` and ${more} more` : ""}`;
}
