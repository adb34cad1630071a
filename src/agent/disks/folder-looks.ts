import { dirname } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { causeText } from "../../oci/oci-error.ts";
import { errorCode } from "../../runtime/host/system-calls.ts";
import { AgentError } from "../agent-error.ts";
import { askLook, folderAnswerMs, type LookJob } from "./ask-look.ts";
import { type Candidate, failedFolder, fileCandidates, lookAtFile } from "./disk-candidates.ts";

/** Where no process could be started, it is tried again after so long. */
const againMs = 10_000;

type Late = { readonly failure: string; readonly again: Promise<unknown> };

/**
 * What lies in folders, whose file systems may hang: such a folder is not asked again until it may answer, and what was seen there last counts
 * until then.
 */
export class FolderLooks {
  readonly #answerMs: number;
  /** By folder: why it is not asked. */
  readonly #late = new Map<string, string>();
  /** By folder: what was seen last. */
  readonly #seen = new Map<string, readonly Candidate[]>();

  constructor(answerMs = folderAnswerMs) {
    this.#answerMs = answerMs;
  }

  /** As `fileCandidates`; `onAnswer`: one that did not answer may have another answer now. Throws nothing. */
  async look(folder: string, onAnswer: () => void): Promise<readonly Candidate[]> {
    const before = this.#late.get(folder);
    if (before !== undefined) return this.#withSeen(folder, before);
    const answer = await this.#ask(folder, () => fileCandidates(folder), { type: "folder", folder }).catch(
      noAnswer(folder),
    );
    if ("value" in answer) {
      this.#seen.set(folder, answer.value);
      return answer.value;
    }
    this.#late.set(folder, answer.failure);
    void answer.again.then(() => {
      this.#late.delete(folder);
      onAnswer();
    });
    return this.#withSeen(folder, answer.failure);
  }

  /** As `lookAtFile`; `undefined` when there is no file. Throws `AgentError` `not-trusted` where the folder does not answer. */
  async lookAtFile(path: string): Promise<Candidate | undefined> {
    const folder = dirname(path);
    const late = this.#late.get(folder);
    if (late !== undefined) throw new AgentError("not-trusted", late);
    const answer = await this.#ask(folder, () => lookAtFile(path), { type: "file", path }).catch((error: unknown) => {
      if (errorCode(error) === "ENOENT") return { value: undefined };
      throw error;
    });
    if ("value" in answer) return answer.value;
    throw new AgentError("not-trusted", answer.failure);
  }

  async #ask<T>(folder: string, here: () => Promise<T>, job: LookJob): Promise<{ readonly value: T } | Late> {
    const answer = await askLook(job, here, this.#answerMs);
    if ("value" in answer) return answer;
    if ("silent" in answer)
      return { failure: `${folder} cannot be read: its file system does not answer`, again: answer.silent };
    const failure = `${folder} cannot be read now: too many processes wait for devices that do not answer`;
    return { failure, again: answer.unasked };
  }

  #withSeen(folder: string, failure: string): readonly Candidate[] {
    return [...(this.#seen.get(folder) ?? []), failedFolder(folder, failure)];
  }
}

function noAnswer(folder: string): (error: unknown) => Late {
  return (error) => ({
    failure: `${folder} cannot be read: ${causeText(error)}`,
    again: sleep(againMs, undefined, { ref: false }),
  });
}
