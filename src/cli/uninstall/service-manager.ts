import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { promisify } from "node:util";
import { nodeLayout } from "../../publish/seed/node-layout.ts";
import { agentUnit } from "../../publish/seed/units.ts";
import { CliError } from "../cli-error.ts";

/** There when systemd is what runs the machine (sd_booted(3)). */
const systemdFolder = "/run/systemd/system";

/** Stops the agent's unit, where there is one. Throws `CliError` `service-manager-failed` with what systemd says. */
export async function stopAgentUnit(): Promise<void> {
  if (existsSync(systemdFolder) && existsSync(`${nodeLayout.units}/${agentUnit}`))
    await systemctl("disable", "--now", agentUnit);
}

/** Has systemd forget the units that are gone. */
export async function reloadUnits(): Promise<void> {
  if (existsSync(systemdFolder)) await systemctl("daemon-reload");
}

async function systemctl(...args: readonly string[]): Promise<void> {
  try {
    await promisify(execFile)("systemctl", [...args]);
  } catch (error) {
    const said = error instanceof Error && "stderr" in error ? String(error.stderr).trim() : String(error);
    throw new CliError("service-manager-failed", `systemctl ${args.join(" ")} failed: ${said}`, { cause: error });
  }
}
