import { needsRoot } from "./privileges.ts";
import { containerdRuntimes } from "./runtimes/fleet.ts";
import { newErofsPrograms } from "./runtimes/programs.ts";
import { snapshotterNames, snapshotterProgram } from "./snapshotters/snapshotter-programs.ts";

// Makes or fetches what takes minutes before any test runs, so that no test has to wait for it. What cannot be had is said
// here, and the tests that need it skip themselves.

if (needsRoot === false) {
  const [runtimes] = await Promise.all([
    containerdRuntimes(),
    newErofsPrograms().catch((error: Error) => {
      console.error(`erofs-utils of Debian 13 are left out: ${error.message}`);
    }),
  ]);
  // After containerd, for whose packages they need not wait then.
  for (const name of snapshotterNames) await snapshotterProgram(name);
  for (const { name, reason } of runtimes) if (reason !== undefined) console.error(`${name} is left out: ${reason}`);
}
