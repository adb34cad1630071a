import { askStorage } from "../../runtime/host/ask-storage.ts";
import { type Candidate, failedFolder, fileCandidates } from "./disk-candidates.ts";
import { type LookJob, lookChild } from "./inspect-candidate.ts";

/** The names and rights of some files. */
const answerMs = 5000;

/** What lies in folders, whose file systems may hang: such a folder is not asked again until it may answer. */
export class FolderLooks {
  readonly #silent = new Set<string>();

  /** As `fileCandidates`; `onAnswer`: one that did not answer may have another answer now. */
  async look(folder: string, onAnswer: () => void): Promise<readonly Candidate[]> {
    if (this.#silent.has(folder)) return [silentFolder(folder)];
    const job: LookJob = { type: "folder", folder };
    const here = () => fileCandidates(folder);
    const answer = await askStorage({ here, elsewhere: { file: lookChild, job }, timeoutMs: answerMs });
    if ("value" in answer) return answer.value;
    this.#silent.add(folder);
    void answer.silent.then(() => {
      this.#silent.delete(folder);
      onAnswer();
    });
    return [silentFolder(folder)];
  }
}

function silentFolder(folder: string): Candidate {
  return failedFolder(folder, `${folder} cannot be read: its file system does not answer`);
}
