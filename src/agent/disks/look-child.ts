import { serveStorageJobs } from "../../runtime/host/storage-protocol.ts";
import { fileCandidates } from "./disk-candidates.ts";
import { inspectCandidate, type LookJob } from "./inspect-candidate.ts";

// Looks at disks and folders that may never answer, when the threads of the agent wait for others.

serveStorageJobs((job: LookJob) =>
  job.type === "folder" ? fileCandidates(job.folder) : inspectCandidate(job.candidate, job.isFresh),
);
