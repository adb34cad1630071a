import { closeSync, openSync, writeFileSync } from "node:fs";
import koffi from "koffi";
import { HostError } from "./host-error.ts";
import { callHere, errorCode, functionAddress, SystemCallError } from "./system-calls.ts";

/** include/uapi/linux/sched.h. */
const cloneNewUser = 0x1000_0000;
/** include/uapi/linux/wait.h: also children that send no signal when they end. */
const waitAll = 0x4000_0000;
/** include/uapi/asm-generic/signal-defs.h, and the size of glibc's and musl's `sigset_t`. */
const setMask = 2;
const signalSetBytes = 128;

const stackBytes = 64 << 10;
/** How long the child sleeps at most; it is killed long before, unless this program was. */
const childSeconds = 5;

/**
 * A new user namespace whose root is the user and group `firstId` outside, with `count` ids; the descriptor of it, which the
 * caller closes. Takes a few milliseconds, in which the program does nothing else. Throws `HostError` `not-supported` where
 * the system allows none.
 *
 * unshare(2) refuses to make one for a program with several threads. So a child is cloned that runs nothing but `sleep` of the
 * C library, on a stack of its own and a copy of our memory, until its namespace has been opened; no JavaScript runs in it.
 */
export function openUserNamespace(firstId: number, count: number): number {
  const pid = startSleepingChild();
  let namespace: number | undefined;
  try {
    namespace = openSync(`/proc/${pid}/ns/user`, "r");
    const mapping = `0 ${firstId} ${count}\n`;
    writeFileSync(`/proc/${pid}/uid_map`, mapping);
    writeFileSync(`/proc/${pid}/gid_map`, mapping);
    return namespace;
  } catch (cause) {
    if (namespace !== undefined) closeSync(namespace);
    throw new HostError("not-supported", `a user namespace cannot be set up (${errorCode(cause) ?? cause})`, { cause });
  } finally {
    process.kill(pid, "SIGKILL");
    callHere("waitpid", pid, null, waitAll);
  }
}

function startSleepingChild(): number {
  const stack = Buffer.alloc(stackBytes);
  // It grows downwards, from an address that is a multiple of 16.
  const top = (koffi.address(stack) + BigInt(stackBytes)) & ~15n;
  const sleep = functionAddress("sleep");
  // The child has our signal handlers, and would report a signal to its group to us a second time.
  const before = Buffer.alloc(signalSetBytes);
  callHere("pthread_sigmask", setMask, Buffer.alloc(signalSetBytes, 0xff), before);
  try {
    // Without a signal in the flags its end disturbs nobody, and only we wait for it.
    return callHere("clone", sleep, top, cloneNewUser, BigInt(childSeconds));
  } catch (cause) {
    if (!(cause instanceof SystemCallError)) throw cause;
    const reasons: Readonly<Record<string, string>> = {
      ENOSPC: "user.max_user_namespaces is 0 or reached; raise it with sysctl",
      EPERM: "the kernel or a security policy forbids them; see sysctl kernel.unprivileged_userns_clone",
      EINVAL: "the kernel was built without CONFIG_USER_NS",
    };
    const reason = reasons[cause.code] ?? cause.code;
    throw new HostError("not-supported", `a user namespace cannot be made: ${reason}`, { cause });
  } finally {
    callHere("pthread_sigmask", setMask, before, null);
  }
}
