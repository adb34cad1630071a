import { homedir } from "node:os";
import { join } from "node:path";
import { authFile } from "./auth-file.ts";
import { type CredentialLookup, firstOf } from "./credential.ts";

/**
 * Where docker, podman and skopeo keep credentials, in this order: `authfile`, else `REGISTRY_AUTH_FILE`; docker's
 * config.json (`DOCKER_CONFIG`); `containers/auth.json` in `XDG_RUNTIME_DIR` and in the user's configuration.
 */
export function defaultCredentials(authfile: string | undefined, environment: NodeJS.ProcessEnv): CredentialLookup {
  const home = environment.HOME || homedir();
  const named = authfile ?? (environment.REGISTRY_AUTH_FILE || undefined);
  const runtime = environment.XDG_RUNTIME_DIR;
  const configuration = environment.XDG_CONFIG_HOME || join(home, ".config");
  const optional = [
    join(environment.DOCKER_CONFIG || join(home, ".docker"), "config.json"),
    ...(runtime ? [join(runtime, "containers", "auth.json")] : []),
    join(configuration, "containers", "auth.json"),
  ];
  return firstOf([
    ...(named === undefined ? [] : [authFile(named, { isRequired: true, environment })]),
    ...optional.map((path) => authFile(path, { isRequired: false, environment })),
  ]);
}
