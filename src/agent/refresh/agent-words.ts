import { OciError } from "../../oci/oci-error.ts";

/** The ways out that messages name, which are options of the command line there and fields of `AgentConfig` here. */
const ways: readonly (readonly [RegExp, string])[] = [
  [/ \(--limit [a-z-]+=[A-Z]+\)/g, ""],
  [/give it with --ca FILE/g, "name it in registries[].authorities of AgentConfig"],
  [/say so with --plain-http \S+/g, "set registries[].plainHttp in AgentConfig"],
  [
    /\(docker login, --authfile\)/g,
    "(registries[].credentials of AgentConfig, docker config files, kubelet's credential providers)",
  ],
  [
    /log in with docker login (\S+) or give --authfile/g,
    "name some for $1 in registries[].credentials of AgentConfig, or in a docker config file",
  ],
];

/** An error about a registry as a person meets it in the status of the agent. `notes` are told where credentials may be what is missing. */
export function inWordsOfAgent(error: OciError, notes: readonly string[]): OciError {
  const told = ways.reduce((text, [way, here]) => text.replace(way, here), error.message);
  const mayBeCredentials = ["unauthorized", "denied", "not-found"].includes(error.code);
  const message = mayBeCredentials && notes.length > 0 ? `${told}. Also: ${notes.join("; ")}` : told;
  return new OciError(error.code, message, { cause: error });
}
