import { finished } from "node:stream/promises";
import { clearAway } from "./clear-away.ts";

// Waits until the process that started it closes its input, or ends, then clears away the folder that the argument names.

const [directory] = process.argv.slice(2);
if (directory === undefined || !/\/nw-[^/]+$/.test(directory)) throw new Error(`not a runtime's folder: ${directory}`);
process.stdin.resume();
await finished(process.stdin, { writable: false }).catch(() => {});
await clearAway(directory);
