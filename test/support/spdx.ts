import assert from "node:assert/strict";
import { z } from "zod";

/** What the schema of SPDX 2.3 (schemas/spdx-schema.json of the specification) asks of the fields that our documents have; it knows no others. */
const id = z.string().regex(/^SPDXRef-[a-zA-Z0-9.-]+$/);
const licence = z.string().min(1);

const packageSchema = z.strictObject({
  SPDXID: id,
  name: z.string().min(1),
  versionInfo: z.string().min(1),
  downloadLocation: z.union([z.literal("NOASSERTION"), z.url()]),
  filesAnalyzed: z.literal(false),
  licenseConcluded: licence,
  licenseDeclared: licence,
  copyrightText: z.string(),
  primaryPackagePurpose: z.enum(["CONTAINER", "LIBRARY", "APPLICATION"]).optional(),
  checksums: z
    .array(
      z
        .strictObject({ algorithm: z.enum(["SHA256", "SHA512"]), checksumValue: z.string().regex(/^[0-9a-f]+$/) })
        .refine(({ algorithm, checksumValue }) => checksumValue.length === Number(algorithm.slice(3)) / 4),
    )
    .min(1),
  externalRefs: z
    .array(
      z.union([
        z.strictObject({
          referenceCategory: z.literal("PACKAGE-MANAGER"),
          referenceType: z.literal("purl"),
          referenceLocator: z.string().regex(/^pkg:[a-z]+\/\S+@\S+$/),
        }),
        z.strictObject({
          referenceCategory: z.literal("SECURITY"),
          referenceType: z.literal("cpe23Type"),
          referenceLocator: z.string().regex(/^cpe:2\.3:a(:[^:\s]+){10}$/),
        }),
      ]),
    )
    .min(1),
});

const documentSchema = z.strictObject({
  spdxVersion: z.literal("SPDX-2.3"),
  dataLicense: z.literal("CC0-1.0"),
  SPDXID: z.literal("SPDXRef-DOCUMENT"),
  name: z.string().min(1),
  documentNamespace: z.url().refine((uri) => !uri.includes("#")),
  creationInfo: z.strictObject({
    created: z.string().regex(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/),
    creators: z.array(z.string().regex(/^(Tool|Organization|Person): ./)).min(1),
  }),
  packages: z.array(packageSchema),
  relationships: z.array(
    z.strictObject({
      spdxElementId: id,
      relationshipType: z.enum(["DESCRIBES", "CONTAINS", "GENERATED_FROM"]),
      relatedSpdxElement: id,
    }),
  ),
});

export type SpdxDocument = z.infer<typeof documentSchema>;

/** Asserts that it is an SPDX document: the schema, ids that are there once, relations between what is there, and nothing that nothing leads to. */
export function checkSpdx(value: unknown): SpdxDocument {
  const document = documentSchema.parse(value);
  const ids = [document.SPDXID, ...document.packages.map(({ SPDXID }) => SPDXID)];
  assert.equal(new Set(ids).size, ids.length);
  for (const { spdxElementId, relatedSpdxElement } of document.relationships) {
    assert.ok(ids.includes(spdxElementId), spdxElementId);
    assert.ok(ids.includes(relatedSpdxElement), relatedSpdxElement);
  }
  const reached = new Set<string>([document.SPDXID]);
  for (const each of reached) {
    for (const { spdxElementId, relatedSpdxElement } of document.relationships)
      if (spdxElementId === each) reached.add(relatedSpdxElement);
  }
  assert.deepEqual(
    ids.filter((each) => !reached.has(each)),
    [],
  );
  return document;
}
