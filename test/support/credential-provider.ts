import { chmod, mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { type Scope, temporaryDirectory } from "./temporary.ts";

/** A folder with credential providers that speak kubelet's exec protocol: small programs, and their configuration. */
export type TestProviders = {
  readonly config: string;
  readonly binaries: string;
  /** Writes the program NAME, a shell script. `$request` is what it got; it notes each run first. */
  program(name: string, script: string): Promise<void>;
  /** Writes the configuration anew. */
  configure(...providers: readonly Record<string, unknown>[]): Promise<void>;
  /** What the programs got on their standard input, in the order of their runs. */
  requests(): Promise<unknown[]>;
};

export const providerApi = "credentialprovider.kubelet.k8s.io/v1";

/** A provider that gives `answer`, the fields of a `CredentialProviderResponse` beside kind and version. */
export function answering(answer: Record<string, unknown>, apiVersion = providerApi): string {
  return `cat <<'END'\n${JSON.stringify({ kind: "CredentialProviderResponse", apiVersion, ...answer })}\nEND\n`;
}

export async function makeProviders(scope: Scope): Promise<TestProviders> {
  const directory = await temporaryDirectory(scope, "providers");
  const binaries = join(directory, "bin");
  const notes = join(directory, "requests");
  const config = join(directory, "config.yaml");
  await mkdir(binaries);
  await writeFile(notes, "");
  return {
    config,
    binaries,
    async program(name, script) {
      await writeFile(
        join(binaries, name),
        `#!/bin/sh\nrequest=$(cat)\nprintf '%s\\n' "$request" >>'${notes}'\n${script}`,
      );
      await chmod(join(binaries, name), 0o755);
    },
    async configure(...providers) {
      const defaults = { apiVersion: providerApi, defaultCacheDuration: "1h", matchImages: ["*.example"] };
      const document = {
        apiVersion: "kubelet.config.k8s.io/v1",
        kind: "CredentialProviderConfig",
        providers: providers.map((each) => ({ ...defaults, ...each })),
      };
      await writeFile(config, JSON.stringify(document, null, 2));
    },
    requests: async () =>
      (await readFile(notes, "utf8"))
        .split("\n")
        .filter(Boolean)
        .map((line) => JSON.parse(line)),
  };
}
