import { realpath } from "node:fs/promises";
import { serveStorageJobs } from "../../runtime/host/storage-protocol.ts";
import type { LookJob } from "./ask-look.ts";
import { fileCandidates, lookAtFile } from "./disk-candidates.ts";
import { devicesBelow } from "./disk-devices.ts";
import { folderState } from "./folder-state.ts";
import { inspectCandidate } from "./inspect-candidate.ts";

// Looks at disks and folders that may never answer, when the threads of the agent wait for others.

serveStorageJobs((job: LookJob): Promise<unknown> => {
  switch (job.type) {
    case "inspect":
      return inspectCandidate(job.candidate, job.isFresh);
    case "folder":
      return fileCandidates(job.folder);
    case "file":
      return lookAtFile(job.path);
    case "realpath":
      return realpath(job.folder);
    case "devices":
      return devicesBelow(job.path);
    case "state":
      return folderState(job.folder, job.parts);
  }
});
