import { constants } from "node:os";
import koffi, { type LibraryHandle } from "koffi";

/**
 * The calls that Node has no function for, by their declaration in the C library. Numbers of `syscall` are given by the
 * caller; a declaration per shape of arguments, as koffi wants to know the types.
 */
const declarations = {
  mount: "int mount(const char *source, const char *target, const char *type, unsigned long flags, const char *data)",
  umount2: "int umount2(const char *target, int flags)",
  ioctl: "int ioctl(int fd, unsigned long request, uint8_t *argument)",
  openTree: "long syscall(long number, int directory, const char *path, unsigned int flags)",
  mountSetattr:
    "long syscall(long number, int directory, const char *path, unsigned int flags, const uint8_t *attributes, size_t size)",
  renameat2:
    "long syscall(long number, int fromDirectory, const char *from, int toDirectory, const char *to, unsigned int flags)",
  unshare: "int unshare(int flags)",
  setns: "int setns(int fd, int type)",
  syncfs: "int syncfs(int fd)",
  /** Returns the number of errno, and never -1. */
  posix_fadvise: "int posix_fadvise(int fd, int64_t offset, int64_t length, int advice)",
  flock: "int flock(int fd, int operation)",
  pthread_sigmask: "int pthread_sigmask(int how, const uint8_t *set, _Out_ uint8_t *before)",
  clone: "int clone(void *function, void *stack, int flags, void *argument)",
  waitpid: "int waitpid(int pid, void *status, int options)",
  llistxattr: "long llistxattr(const uint8_t *path, uint8_t *names, size_t size)",
  lgetxattr: "long lgetxattr(const uint8_t *path, const char *name, uint8_t *value, size_t size)",
  lsetxattr: "int lsetxattr(const uint8_t *path, const char *name, const uint8_t *value, size_t size, int flags)",
  utimensat: "int utimensat(int directory, const uint8_t *path, const uint8_t *times, int flags)",
  mknodat: "long syscall(long number, int directory, const uint8_t *path, unsigned int mode, unsigned int device)",
  socket: "int socket(int domain, int type, int protocol)",
  sendto:
    "long sendto(int fd, const uint8_t *data, size_t size, int flags, const uint8_t *address, unsigned int length)",
  lseek: "int64_t lseek(int fd, int64_t offset, int whence)",
  fcntl: "int fcntl(int fd, int command, long argument)",
  malloc_trim: "int malloc_trim(size_t pad)",
  madvise: "int madvise(uintptr_t address, size_t length, int advice)",
  ioprioSet: "long syscall(long number, int which, int who, int priority)",
} as const;

export type CallName = keyof typeof declarations;
export type CallArgument = string | number | bigint | Uint8Array | null;

/** Makes one call and resolves to what it returns. Throws `SystemCallError` when that is -1. */
export type SystemCaller = (name: CallName, ...args: readonly CallArgument[]) => Promise<number>;

/** A call that the kernel refused. `code` is the name of errno, as in errors of `node:fs`. */
export class SystemCallError extends Error {
  readonly code: string;
  readonly errno: number;
  readonly call: CallName;

  constructor(call: CallName, errno: number) {
    const code = errnoName(errno);
    super(`${call}: ${code}`);
    this.name = "SystemCallError";
    this.call = call;
    this.code = code;
    this.errno = errno;
  }
}

/** `code` of a `SystemCallError` or of an error of `node:fs`; else undefined. */
export function errorCode(error: unknown): string | undefined {
  if (!(error instanceof Error) || !("code" in error)) return undefined;
  return typeof error.code === "string" ? error.code : undefined;
}

/** In a thread of the pool, so that a device or server that hangs does not stop the program. */
export const call: SystemCaller = (name, ...args) => {
  checkStrings(name, args);
  return new Promise((resolve, reject) => {
    libcFunction(name).async(...args, (error: Error | null, result: number) => {
      // koffi keeps the errno of the pool's thread for this callback.
      if (error !== null) reject(error);
      else if (result === -1) reject(new SystemCallError(name, koffi.errno()));
      else resolve(result);
    });
  });
};

/** In the calling thread: for what belongs to a thread, and for calls that never wait. */
export function callHere(name: CallName, ...args: readonly CallArgument[]): number {
  checkStrings(name, args);
  const result: number = libcFunction(name)(...args);
  if (result === -1) throw new SystemCallError(name, koffi.errno());
  return result;
}

/** The address of a function of the C library. */
export function functionAddress(name: string): bigint {
  return koffi.load(null).symbol(name);
}

type LibcFunction = ReturnType<LibraryHandle["func"]>;

const functions = new Map<CallName, LibcFunction>();

function libcFunction(name: CallName): LibcFunction {
  let found = functions.get(name);
  if (found === undefined) {
    found = koffi.load(null).func(declarations[name]);
    functions.set(name, found);
  }
  return found;
}

function checkStrings(name: CallName, args: readonly CallArgument[]): void {
  if (args.some((argument) => typeof argument === "string" && argument.includes("\0"))) {
    throw new TypeError(`${name}: an argument holds a zero byte`);
  }
}

/** Those that `node:os` does not know (include/uapi/asm-generic/errno.h). EROFS says EUCLEAN of damaged bytes. */
const furtherErrnoNames: Readonly<Record<number, string>> = { 15: "ENOTBLK", 117: "EUCLEAN", 124: "EMEDIUMTYPE" };

function errnoName(errno: number): string {
  for (const [name, value] of Object.entries(constants.errno)) if (value === errno) return name;
  return furtherErrnoNames[errno] ?? `errno ${errno}`;
}
