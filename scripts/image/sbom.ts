import type { Descriptor } from "../../src/oci/descriptor.ts";
import { digestHex } from "../../src/oci/descriptor.ts";
import type { BundledPackage } from "../bundle/packages.ts";
import { type Architecture, type DebianPin, koffiPin, type NpmPin, type Pins } from "./pins.ts";

export type SbomInput = {
  readonly version: string;
  readonly timeSeconds: number;
  readonly pins: Pins;
  /** Packages in the bundle; their hashes are those of package-lock.json. */
  readonly bundled: readonly (BundledPackage & { readonly integrity: string })[];
  readonly index: Descriptor;
  readonly images: Readonly<Record<Architecture, Descriptor>>;
};

type Package = {
  readonly SPDXID: string;
  readonly name: string;
  readonly versionInfo: string;
  readonly downloadLocation: string;
  readonly filesAnalyzed: false;
  readonly licenseConcluded: string;
  readonly licenseDeclared: string;
  readonly copyrightText: string;
  readonly primaryPackagePurpose?: string;
  readonly checksums?: readonly { readonly algorithm: string; readonly checksumValue: string }[];
  readonly externalRefs?: readonly {
    readonly referenceCategory: string;
    readonly referenceType: string;
    readonly referenceLocator: string;
  }[];
};

type Relationship = {
  readonly spdxElementId: string;
  readonly relationshipType: string;
  readonly relatedSpdxElement: string;
};

/** What the authors of these packages declare, by source package; the full texts are in the image. */
const debianLicences: Readonly<Record<string, string>> = {
  "base-files": "GPL-2.0-or-later",
  "gcc-12": "GPL-3.0-or-later WITH GCC-exception-3.1",
  glibc: "LGPL-2.1-or-later",
};

const unknown = "NOASSERTION";

/** The bill of materials of both images, an SPDX 2.3 document (https://spdx.github.io/spdx-spec/v2.3/). */
export function sbom({ version, timeSeconds, pins, bundled, index, images }: SbomInput): object {
  const packages: Package[] = [imagePackage("SPDXRef-Index", "nodewarm", version, index)];
  const relationships: Relationship[] = [relation("SPDXRef-DOCUMENT", "DESCRIBES", "SPDXRef-Index")];
  const shared = bundled.filter(({ name }) => name !== "koffi");
  packages.push(...bundled.map((each) => npmPackage(`SPDXRef-npm-${idText(each.name)}`, each, each.license)));
  for (const [architecture, descriptor] of Object.entries(images) as [Architecture, Descriptor][]) {
    const id = `SPDXRef-Image-${architecture}`;
    packages.push(imagePackage(id, `nodewarm (${architecture})`, version, descriptor));
    relationships.push(relation("SPDXRef-Index", "CONTAINS", id));
    const debian = pins.debian.filter((pin) => pin.architecture === architecture).map(debianPackage);
    const node = nodePackage(`SPDXRef-node-${architecture}`, pins.node[architecture]);
    const koffi = npmPackage(`SPDXRef-koffi-${architecture}`, koffiPin(architecture), "MIT");
    packages.push(...debian, node, koffi);
    const contained = [...debian, node, koffi].map(({ SPDXID }) => SPDXID);
    contained.push(...shared.map(({ name }) => `SPDXRef-npm-${idText(name)}`));
    relationships.push(...contained.map((each) => relation(id, "CONTAINS", each)));
    relationships.push(relation(koffi.SPDXID, "GENERATED_FROM", "SPDXRef-npm-koffi"));
  }
  return {
    spdxVersion: "SPDX-2.3",
    dataLicense: "CC0-1.0",
    SPDXID: "SPDXRef-DOCUMENT",
    name: `nodewarm-${version}-image`,
    documentNamespace: `https://spdx.org/spdxdocs/nodewarm-${version}-${digestHex(index.digest)}`,
    creationInfo: {
      created: new Date(timeSeconds * 1000).toISOString().replace(/\.\d+/, ""),
      creators: [`Tool: nodewarm-image-${version}`],
    },
    packages,
    relationships,
  };
}

function imagePackage(id: string, name: string, version: string, { digest }: Descriptor): Package {
  return {
    ...described(id, name, version, "Apache-2.0"),
    primaryPackagePurpose: "CONTAINER",
    checksums: [{ algorithm: "SHA256", checksumValue: digestHex(digest) }],
    externalRefs: [purl(`pkg:oci/nodewarm@${encodeURIComponent(digest)}?tag=${encodeURIComponent(version)}`)],
  };
}

function debianPackage({ name, version, architecture, source, archive, path, sha256 }: DebianPin): Package {
  const upstream = encodeURIComponent(`${source.name}@${source.version}`);
  const locator = `pkg:deb/debian/${name}@${encodeURIComponent(version)}?arch=${architecture}&distro=debian-12&upstream=${upstream}`;
  return {
    ...described(`SPDXRef-deb-${idText(name)}-${architecture}`, name, version, debianLicences[source.name] ?? unknown),
    downloadLocation: `https://deb.debian.org/${archive}/${path.split("/").map(encodeURIComponent).join("/")}`,
    checksums: [{ algorithm: "SHA256", checksumValue: sha256 }],
    externalRefs: [purl(locator)],
  };
}

function nodePackage(id: string, pin: NpmPin): Package {
  const cpe = `cpe:2.3:a:nodejs:node.js:${pin.version}:*:*:*:*:*:*:*`;
  const inNpm = npmPackage(id, pin, "MIT");
  const refs = inNpm.externalRefs ?? [];
  return {
    ...inNpm,
    externalRefs: [
      ...refs,
      { referenceCategory: "SECURITY", referenceType: "cpe23Type", referenceLocator: cpe },
      purl(`pkg:generic/nodejs@${pin.version}`),
    ],
  };
}

function npmPackage(id: string, { name, version, integrity }: NpmPin, license: string): Package {
  const [algorithm = "", base64 = ""] = integrity.split("-", 2);
  const file = `${name.slice(name.indexOf("/") + 1)}-${version}.tgz`;
  return {
    ...described(id, name, version, license),
    downloadLocation: `https://registry.npmjs.org/${name}/-/${file}`,
    checksums: [{ algorithm: algorithm.toUpperCase(), checksumValue: Buffer.from(base64, "base64").toString("hex") }],
    externalRefs: [purl(`pkg:npm/${name.replace("@", "%40")}@${version}`)],
  };
}

function described(id: string, name: string, version: string, license: string): Package {
  return {
    SPDXID: id,
    name,
    versionInfo: version,
    downloadLocation: unknown,
    filesAnalyzed: false,
    licenseConcluded: unknown,
    licenseDeclared: license,
    copyrightText: unknown,
  };
}

function purl(referenceLocator: string) {
  return { referenceCategory: "PACKAGE-MANAGER", referenceType: "purl", referenceLocator };
}

function relation(spdxElementId: string, relationshipType: string, relatedSpdxElement: string): Relationship {
  return { spdxElementId, relationshipType, relatedSpdxElement };
}

/** Letters, digits, dots and dashes alone may be in an id. */
function idText(name: string): string {
  return name.replace(/[^A-Za-z0-9.-]+/g, "-").replace(/^-+/, "");
}
