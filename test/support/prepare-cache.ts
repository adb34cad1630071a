import { containerd24Binaries } from "./containerd-2.4.ts";
import { foreignPrograms } from "./debian.ts";
import { needsRoot } from "./privileges.ts";

// Makes or fetches what takes minutes before any test runs, so that no test has to wait for it. What cannot be had is said
// here, and the tests that need it skip themselves.

if (needsRoot === false) {
  await containerd24Binaries();
  await foreignPrograms("trixie", "erofs-utils", ["mkfs.erofs", "fsck.erofs"]).catch((error: Error) => {
    console.error(`erofs-utils of Debian 13 are left out: ${error.message}`);
  });
}
