import { ai3s, oneLayer } from "./ai.ts";
import { hello16 } from "./hello.ts";
import { hub50 } from "./hub.ts";
import type { SetGenerator } from "./image-set.ts";
import { many } from "./many.ts";
import { syn6 } from "./syn.ts";

/** Every set of the suite, in the order of the table. */
export const setGenerators: readonly SetGenerator[] = [syn6, hello16, hub50, ai3s, oneLayer, many];
