import { readNow } from "./fresh-read.ts";
import { serveStorageJobs } from "./storage-protocol.ts";

// Reads files of devices that may never answer, when the threads of the one who asks wait for others.

serveStorageJobs(({ path, maxBytes }: { readonly path: string; readonly maxBytes: number }) => readNow(path, maxBytes));
