import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { AgentError } from "../../src/agent/agent-error.ts";
import { readConfiguration } from "../../src/agent/config/read-configuration.ts";
import { parseStateDocument } from "../../src/agent/state/state-document.ts";
import { DiskError } from "../../src/disk/disk-error.ts";
import { parseDiskIndex } from "../../src/disk/reader/disk-index.ts";
import { KubernetesError } from "../../src/kubernetes/kubernetes-error.ts";
import { readImageSets } from "../../src/kubernetes/read-image-sets.ts";
import { authFile } from "../../src/oci/credentials/auth-file.ts";
import { documentMediaType, parseConfig, parseIndex, parseManifest } from "../../src/oci/image-documents.ts";
import { limitValues } from "../../src/oci/limit.ts";
import { ociLimits } from "../../src/oci/limits.ts";
import { OciError } from "../../src/oci/oci-error.ts";
import { defaultEndpoints } from "../../src/oci/registry/endpoint.ts";
import { configuredEndpoints } from "../../src/oci/registry/hosts-toml.ts";
import { mutatedDocument } from "./mutate-document.ts";
import { type FuzzInput, type FuzzTarget, inTime, pick, type Random } from "./target.ts";
import { validDocuments } from "./valid-documents.ts";

/** Changed documents of every kind: each is read or refused with one error of its package, in bounded time. */
export const documentTarget: FuzzTarget = { name: "document", make, check };

const limitMs = 3000;
/** Messages may quote what is wrong, not repeat it at length. */
const messageCharacters = 10_000;

const host = "registry.example:5000";
const limits = limitValues(ociLimits);
const folder = mkdtempSync(join(tmpdir(), "nw-fuzz-"));
const hostFolder = join(folder, "registry.example_5000_");
mkdirSync(hostFolder);
process.once("exit", () => rmSync(folder, { recursive: true, force: true }));

type Reader = {
  readonly error: typeof OciError | typeof DiskError | typeof KubernetesError | typeof AgentError;
  read(bytes: Buffer): unknown;
};

/** By the name of the document's kind, which is also the name of the input's one part. */
const readers: Readonly<Record<string, Reader>> = {
  manifest: {
    error: OciError,
    read: (bytes) => {
      documentMediaType(bytes, undefined, "the manifest");
      return parseManifest(bytes, limits["image-layers"], "the manifest");
    },
  },
  index: {
    error: OciError,
    read: (bytes) => {
      documentMediaType(bytes, undefined, "the index");
      return parseIndex(bytes, limits["index-entries"], "the index");
    },
  },
  config: { error: OciError, read: (bytes) => parseConfig(bytes, 2, "the config") },
  diskindex: { error: DiskError, read: (bytes) => parseDiskIndex(bytes, "disk.erofs") },
  hosts: {
    error: OciError,
    read: async (bytes) => {
      await writeFile(join(hostFolder, "hosts.toml"), bytes);
      return configuredEndpoints({ directories: [folder] }, host, defaultEndpoints(host, [], false));
    },
  },
  auth: {
    error: OciError,
    read: async (bytes) => {
      const path = join(folder, "auth.json");
      await writeFile(path, bytes);
      const find = authFile(path, { isRequired: true, environment: { PATH: folder } });
      return find(host, "team/app", AbortSignal.timeout(limitMs));
    },
  },
  imageset: { error: KubernetesError, read: (bytes) => readImageSets(bytes.toString(), "images.yaml") },
  agentconfig: {
    error: AgentError,
    read: async (bytes) => {
      const path = join(folder, "agent.yaml");
      await writeFile(path, bytes);
      return readConfiguration(path);
    },
  },
  state: { error: AgentError, read: (bytes) => parseStateDocument(bytes.toString(), "state.json") },
};

function make(random: Random): FuzzInput {
  const [kind, document] = pick(random, validDocuments);
  return { [kind]: mutatedDocument(document, random) };
}

/** Reads a document of one kind; rejects where it is refused. */
export async function readDocument(kind: string, bytes: Buffer): Promise<unknown> {
  return readers[kind]?.read(bytes);
}

async function check(input: FuzzInput): Promise<void> {
  for (const [kind, bytes] of Object.entries(input)) {
    const reader = readers[kind];
    if (reader === undefined) throw new Error(`no document is called ${kind}`);
    await inTime(limitMs, async () => {
      try {
        await reader.read(bytes);
      } catch (error) {
        if (!(error instanceof reader.error)) throw error;
        checkMessage(error.message);
      }
    });
  }
}

function checkMessage(message: string): void {
  if (message.length > messageCharacters)
    throw new Error(`a message of ${message.length} characters: ${message.slice(0, 300)}`);
  // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what a message must not send to a terminal
  if (/[\x00-\x09\x0b-\x1f\x7f-\x9f]/.test(message))
    throw new Error(`control characters in ${JSON.stringify(message)}`);
}
