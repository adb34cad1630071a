import { readdir, readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { KubernetesError } from "../../kubernetes/kubernetes-error.ts";
import { causeText } from "../../oci/oci-error.ts";
import { AgentError } from "../agent-error.ts";
import type { Configuration } from "./configuration.ts";

const namePattern = /^[^.].*\.(ya?ml|json)$/;
/** Larger ones are refused before they are read. */
const maxFileBytes = 8 << 20;

/** The files that count: `path` itself, or all `.yaml`, `.yml` and `.json` of a folder, by name, without hidden ones. */
export async function configurationFiles(path: string): Promise<readonly string[]> {
  if (!(await stat(path)).isDirectory()) return [path];
  const names = (await readdir(path)).filter((name) => namePattern.test(name)).sort();
  const files: string[] = [];
  for (const name of names) {
    const file = join(path, name);
    // Links are followed: a mounted ConfigMap consists of them.
    if ((await stat(file)).isFile()) files.push(file);
  }
  return files;
}

/**
 * Reads the `ImageSet` documents of a file or folder, and its `AgentConfig`, if there is one. Throws `AgentError` `invalid-configuration` with
 * every problem of every file, each with file, line, column and field.
 */
export async function readConfiguration(path: string): Promise<Configuration> {
  // Loaded here: schemas and parser are large, and a daemon is up before it needs them.
  const [{ agentConfigSchema, defaultAgentSpec }, { imageSetSchema }, { readDocuments }] = await Promise.all([
    import("./agent-config.ts"),
    import("../../kubernetes/image-set.ts"),
    import("../../kubernetes/read-documents.ts"),
  ]);
  const problems: string[] = [];
  const sets = new Map<string, { readonly value: Configuration["sets"][number]; readonly place: string }>();
  let agent: { readonly value: Configuration["agent"]; readonly place: string } | undefined;
  for (const file of await listFiles(path)) {
    try {
      const text = await readText(file);
      for (const found of readDocuments(text, file, { ImageSet: imageSetSchema, AgentConfig: agentConfigSchema })) {
        const { place } = found;
        if (found.kind === "AgentConfig") {
          if (agent !== undefined) problems.push(`${place}: a second AgentConfig; the first one is at ${agent.place}`);
          agent ??= { value: found.value.spec, place };
          continue;
        }
        const { name } = found.value.metadata;
        const same = sets.get(name);
        if (same === undefined) sets.set(name, { value: found.value, place });
        else problems.push(`${place}: metadata.name: "${name}" is the name of the ImageSet at ${same.place} too`);
      }
    } catch (error) {
      if (!(error instanceof KubernetesError) && !(error instanceof AgentError)) throw error;
      problems.push(error.message);
    }
  }
  if (problems.length > 0) throw new AgentError("invalid-configuration", problems.join("\n"));
  return { sets: [...sets.values()].map(({ value }) => value), agent: agent?.value ?? defaultAgentSpec() };
}

async function listFiles(path: string): Promise<readonly string[]> {
  try {
    return await configurationFiles(path);
  } catch (cause) {
    throw unreadable(path, cause);
  }
}

async function readText(file: string): Promise<string> {
  try {
    const { size } = await stat(file);
    if (size > maxFileBytes)
      throw new AgentError("invalid-configuration", `${file}: larger than ${maxFileBytes >> 20} MiB; split the file`);
    return await readFile(file, "utf8");
  } catch (cause) {
    throw cause instanceof AgentError ? cause : unreadable(file, cause);
  }
}

function unreadable(path: string, cause: unknown): AgentError {
  return new AgentError("invalid-configuration", `${path}: cannot be read: ${causeText(cause)}`, { cause });
}
