import koffi from "koffi";

// Preloaded with `node --import`: from now on the kernel answers this process as it does when fs.inotify.max_user_watches is reached, a
// limit that cannot be changed for one process alone. (seccomp(2): a filter that gives inotify_add_watch ENOSPC and allows all else.)

const numbers: Readonly<Partial<Record<NodeJS.Architecture, number>>> = { x64: 254, arm64: 27 };
const noSpace = 28;

type Instruction = readonly [code: number, jumpTrue: number, jumpFalse: number, value: number];

// linux/bpf_common.h, linux/seccomp.h: load the number, compare, answer.
const instructions: readonly Instruction[] = [
  [0x20, 0, 0, 0],
  [0x15, 0, 1, numbers[process.arch] ?? -1],
  [0x06, 0, 0, 0x00050000 | noSpace],
  [0x06, 0, 0, 0x7fff0000],
];
const program = Buffer.alloc(instructions.length * 8);
for (const [i, [code, jumpTrue, jumpFalse, value]] of instructions.entries()) {
  program.writeUInt16LE(code, i * 8);
  program.writeUInt8(jumpTrue, i * 8 + 2);
  program.writeUInt8(jumpFalse, i * 8 + 3);
  program.writeInt32LE(value, i * 8 + 4);
}
// struct sock_fprog
const pointer = Buffer.alloc(16);
pointer.writeUInt16LE(instructions.length, 0);
pointer.writeBigUInt64LE(koffi.address(program), 8);
const prctl = koffi.load(null).func("int prctl(int option, unsigned long mode, const uint8_t *argument)");
const setSeccomp = 22;
const modeFilter = 2;
if (prctl(setSeccomp, modeFilter, pointer) !== 0) throw new Error(`no seccomp filter: errno ${koffi.errno()}`);
