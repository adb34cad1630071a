import { nodeLayout } from "./node-layout.ts";
import type { RootFolder } from "./root-folder.ts";
import { agentUnit, dropInPath, enablingLink, runtimeUnits } from "./units.ts";

export type RemovedFiles = {
  /** Files and folders that are gone, as the node sees them. */
  readonly removed: readonly string[];
  /** Those that stay because something is mounted in them. */
  readonly mounted: readonly string[];
};

/**
 * Removes what `seedRoot` and the agent brought, the program last. The configuration, which people wrote, stays. What runs must have been
 * stopped, and disks ejected, before.
 */
export async function uninstallFiles(root: RootFolder): Promise<RemovedFiles> {
  const paths = [
    enablingLink.path,
    `${nodeLayout.units}/${agentUnit}`,
    ...runtimeUnits.map(dropInPath),
    nodeLayout.variable,
    nodeLayout.runtime,
    nodeLayout.command,
    nodeLayout.program,
  ];
  const removed: string[] = [];
  const mounted: string[] = [];
  for (const path of paths) {
    const result = await root.remove(path);
    if (result === "removed") removed.push(path);
    if (result === "mounted") mounted.push(path);
  }
  // Folders that others may use too go only when they are empty.
  for (const unit of runtimeUnits) await root.removeEmptyFolder(`${nodeLayout.units}/${unit}.d`);
  await root.removeEmptyFolder(nodeLayout.configuration);
  return { removed, mounted };
}
