import type { Limit } from "../../oci/limit.ts";
import { formatLimit } from "../format.ts";
import { limits } from "./limits.ts";

/** The text of `nodewarm build --help`. */
export function buildHelp(): string {
  return `Usage: nodewarm build [IMAGE...] [-f FILE]... -o DISK [OPTION...]

Makes one read-only disk that holds every layer of every image. Needs no root.

IMAGE is one of
  REFERENCE                   in a registry, as docker and crictl read it: nginx:1.29, ghcr.io/a/b@sha256:...
  oci:DIR[:TAG|@DIGEST]       an OCI layout
  oci-archive:FILE[:TAG]      an OCI layout in a tar file
  docker-archive:FILE[:REF]   what "docker save" writes

What goes on the disk:
  -f, --file FILE             images of an ImageSet document ("-": standard input); may be repeated
      --platform OS/ARCH[/VARIANT]
                              which platform of each image; may be repeated (default: linux and this machine's
                              architecture). Several make several disks: DISK must contain {platform}
      --blobs                 also the compressed layers, for registries and mirrors
      --erofs-cache           also each layer as an EROFS image, for containerd's EROFS snapshotter

The disk:
  -o, --output DISK           where to write it; appears when it is complete, an older one stays until then
      --from OLD_DISK         take layers from an older disk instead of fetching them; may be DISK itself
      --line NAME             name shared by disks that follow each other (default: the image set's name, or "default")
      --sequence N            place in the line, the higher is newer (default: the disk's time in Unix seconds)

Registries:
      --authfile FILE         credentials, as docker and podman write them (default: $REGISTRY_AUTH_FILE); what it lacks
                              comes from docker's config.json and podman's auth.json
      --plain-http HOST       talk plain HTTP to this registry; may be repeated (loopback needs no such permission)
      --ca FILE               certificates in PEM form to trust beside those of the system
      --hosts-dir DIR         mirrors as in containerd's config_path: DIR/HOST/hosts.toml

The run:
  -j, --jobs N                layers read at once (default: the number of cores, at least 2 and at most 4;
                              builds of up to 32 MiB read at least 4, unless N is 1)
      --limit NAME=VALUE      move a bound from the list below; may be repeated
      --json                  print one JSON object {"disks": [...]} on standard output instead of the summary
      --progress auto|plain|none
                              on standard error: bars on a terminal, else lines (default: auto)
  -h, --help                  this text

Environment: SOURCE_DATE_EPOCH sets the time recorded on the disk (default: that of the newest image).

Limits (K, M, G, T are powers of 1000; Ki, Mi, Gi, Ti of 1024):
${limitLines(limits)}
Exit codes: 0 done, 1 failed, 2 wrong usage, 130 interrupted.
`;
}

function limitLines(table: Readonly<Record<string, Limit>>): string {
  const rows = Object.entries(table).map(([name, limit]) => [
    name,
    formatLimit(limit.default, limit.unit),
    limit.description,
  ]);
  const width = (column: number) => Math.max(...rows.map((row) => row[column].length));
  return rows
    .map(([name, value, description]) => `  ${name.padEnd(width(0))}  ${value.padStart(width(1))}  ${description}\n`)
    .join("");
}
