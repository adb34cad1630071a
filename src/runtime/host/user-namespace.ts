import { type FileHandle, open, writeFile } from "node:fs/promises";
import koffi from "koffi";
import { HostError } from "./host-error.ts";
import { callHere, errorCode, functionAddress, SystemCallError } from "./system-calls.ts";

/** include/uapi/linux/sched.h. */
const cloneNewUser = 0x1000_0000;
/** include/uapi/linux/wait.h: also children that send no signal when they end. */
const waitAll = 0x4000_0000;

const stackBytes = 64 << 10;

/**
 * A new user namespace whose root is the user and group `firstId` outside, with `count` ids; it lives as long as its
 * descriptor, or what was made with it. The caller closes it. Throws `HostError` `not-supported` where the system allows none.
 *
 * unshare(2) refuses to make one for a program with several threads. So a child is cloned that runs nothing but `pause` of the
 * C library, on a stack of its own and a copy of our memory, until its namespace has been opened; no JavaScript runs in it.
 */
export async function openUserNamespace(firstId: number, count: number): Promise<FileHandle> {
  const pid = startPausedChild();
  try {
    const mapping = `0 ${firstId} ${count}\n`;
    await writeFile(`/proc/${pid}/uid_map`, mapping);
    await writeFile(`/proc/${pid}/gid_map`, mapping);
    return await open(`/proc/${pid}/ns/user`);
  } catch (cause) {
    throw new HostError("not-supported", `a user namespace cannot be set up (${errorCode(cause) ?? cause})`, { cause });
  } finally {
    process.kill(pid, "SIGKILL");
    callHere("waitpid", pid, null, waitAll);
  }
}

function startPausedChild(): number {
  const stack = Buffer.alloc(stackBytes);
  // It grows downwards, from an address that is a multiple of 16.
  const top = (koffi.address(stack) + BigInt(stackBytes)) & ~15n;
  try {
    // Without a signal in the flags its end disturbs nobody, and only we wait for it.
    return callHere("clone", functionAddress("pause"), top, cloneNewUser, null);
  } catch (cause) {
    if (!(cause instanceof SystemCallError)) throw cause;
    const reasons: Readonly<Record<string, string>> = {
      ENOSPC: "user.max_user_namespaces is 0 or reached; raise it with sysctl",
      EPERM: "the kernel or a security policy forbids them; see sysctl kernel.unprivileged_userns_clone",
      EINVAL: "the kernel was built without CONFIG_USER_NS",
    };
    const reason = reasons[cause.code] ?? cause.code;
    throw new HostError("not-supported", `a user namespace cannot be made: ${reason}`, { cause });
  }
}
