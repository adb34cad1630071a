import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { root } from "./compile.ts";

/** An npm package that is in the bundle, if only in parts. */
export type BundledPackage = {
  readonly name: string;
  readonly version: string;
  /** SPDX expression. */
  readonly license: string;
  readonly licenseText: string;
};

/** The packages that the sources `inputs` of the bundle are from, and koffi, whose library lies beside them; by name. */
export function bundledPackages(inputs: readonly string[]): readonly BundledPackage[] {
  // `node_modules` may be a link, which leads out of this folder.
  const found = inputs.flatMap((input) => /(?:^|\/)(node_modules\/(?:@[^/]+\/)?[^/]+)\//.exec(input)?.[1] ?? []);
  const folders = [...new Set([...found, "node_modules/koffi"])].sort();
  return folders.map((folder) => {
    const path = join(root, folder);
    const { name, version, license } = JSON.parse(readFileSync(join(path, "package.json"), "utf8"));
    const file = readdirSync(path).find((each) => /^licen[cs]e/i.test(each));
    const licenseText =
      file === undefined ? licenceInSources(folder, inputs, license) : readFileSync(join(path, file), "utf8").trim();
    return { name, version, license, licenseText };
  });
}

/** One text of all licences. */
export function joinLicences(packages: readonly BundledPackage[], more: readonly string[] = []): string {
  const texts = packages.map(
    ({ name, version, license, licenseText }) => `${name} ${version} (${license})\n\n${licenseText}\n`,
  );
  return [...texts, ...more].join(`\n${"-".repeat(80)}\n\n`);
}

/** For packages that have their licence at the head of their files alone: each such text once. Apache's own lies beside the bundle. */
function licenceInSources(folder: string, inputs: readonly string[], license: string): string {
  if (!license.includes("Apache-2.0")) throw new Error(`${folder} has no file with its licence`);
  const heads = inputs
    .filter((input) => input.includes(`${folder}/`))
    .map((input) => /^(?:\/\/.*\n)+/.exec(readFileSync(join(root, input), "utf8"))?.[0] ?? "")
    .filter((head) => /copyright/i.test(head));
  if (heads.length === 0) throw new Error(`the files of ${folder} name no licence`);
  return `${[...new Set(heads)].join("\n")}\nThe Apache License, Version 2.0, is in the file LICENSE.`;
}
