import { appendFileSync } from "node:fs";
import { registerHooks } from "node:module";

/** With `node --import`: writes the URL of each module that a program loads, its workers included, into the file `RECORDED_MODULES`. */
const file = process.env.RECORDED_MODULES;
if (file === undefined) throw new Error("RECORDED_MODULES names no file");

registerHooks({
  resolve(specifier, context, next) {
    const found = next(specifier, context);
    appendFileSync(file, `${found.url}\n`);
    return found;
  },
});
