import { type Document, isMap, isNode, isScalar, LineCounter, parseAllDocuments } from "yaml";
import type { z } from "zod";
import { printable } from "../oci/oci-error.ts";
import { KubernetesError } from "./kubernetes-error.ts";

/** Larger files are refused unread. */
const maxFileBytes = 8 << 20;
/** So that one slip in a long file does not fill the screen. */
const maxProblems = 20;

type Path = readonly PropertyKey[];
type Problem = { readonly offset: number; readonly field: string; readonly message: string };
type Schemas = Readonly<Record<string, z.ZodType>>;

/** A document that fits its kind, and where it begins: `file:line:column`. */
export type FoundDocument<Kinds extends Schemas> = {
  [Kind in keyof Kinds]: { readonly kind: Kind; readonly value: z.output<Kinds[Kind]>; readonly place: string };
}[keyof Kinds];

/**
 * All documents in the YAML (or JSON) `text`, each checked with the schema of its `kind`; empty documents are skipped. Where there is only
 * one kind, it checks those of other kinds too, and so refuses them.
 * Throws `KubernetesError` with every problem found, each with file, line, column and field.
 * `fileName` is only used in messages.
 */
export function readDocuments<Kinds extends Schemas>(
  text: string,
  fileName: string,
  kinds: Kinds,
): readonly FoundDocument<Kinds>[] {
  if (Buffer.byteLength(text) > maxFileBytes) {
    throw new KubernetesError("invalid-yaml", `${fileName}: larger than ${maxFileBytes >> 20} MiB; split the file`);
  }
  const lines = new LineCounter();
  const documents = parseDocuments(text, lines, fileName);
  const at = (offset: number) => {
    const { line, col } = lines.linePos(offset);
    return `${fileName}:${line}:${col}`;
  };
  const broken = documents.flatMap((document) => document.errors);
  if (broken.length > 0) {
    if (broken.some(({ message }) => message.includes("call stack"))) throw tooDeep(fileName);
    // What follows the first slip in syntax is mostly its echo.
    const found = broken.slice(0, 3).map((error) => `${at(error.pos[0])}: ${error.message}`);
    throw new KubernetesError("invalid-yaml", joinProblems(found));
  }

  const found: FoundDocument<Kinds>[] = [];
  const problems: Problem[] = [];
  for (const document of documents) {
    if (document.contents === null || (isScalar(document.contents) && document.contents.value === null)) continue;
    const kind = kindOf(document, kinds);
    const schema = kinds[kind];
    if (schema === undefined) {
      const names = Object.keys(kinds).join(" or ");
      problems.push(problem(document, ["kind"], document.hasIn(["kind"]) ? `must be ${names}` : "is missing"));
      continue;
    }
    const result = schema.safeParse(plainValue(document, at));
    if (result.success) {
      found.push({ kind, value: result.data, place: at(offsetOf(document, [])) } as FoundDocument<Kinds>);
    } else problems.push(...result.error.issues.flatMap((issue) => problemsOf(issue, document)));
  }
  if (problems.length > 0) {
    const told = problems.map(
      ({ offset, field, message }) => `${at(offset)}: ${field === "" ? "" : `${field}: `}${message}`,
    );
    throw new KubernetesError("invalid-document", joinProblems(told));
  }
  return found;
}

function kindOf(document: Document, kinds: Schemas): string {
  const names = Object.keys(kinds);
  const [only] = names;
  if (names.length === 1 && only !== undefined) return only;
  const kind = isMap(document.contents) ? document.get("kind") : undefined;
  return typeof kind === "string" && Object.hasOwn(kinds, kind) ? kind : "";
}

function parseDocuments(text: string, lineCounter: LineCounter, fileName: string): readonly Document[] {
  try {
    const parsed = parseAllDocuments(text, { lineCounter, prettyErrors: false, uniqueKeys: true, logLevel: "error" });
    return Array.isArray(parsed) ? parsed : [];
  } catch (error) {
    if (error instanceof RangeError) throw tooDeep(fileName);
    throw error;
  }
}

/** The library recurses with the depth of the document, and tells or throws that the stack is full. */
function tooDeep(fileName: string): KubernetesError {
  return new KubernetesError("invalid-yaml", `${fileName}: nested too deeply`);
}

/** Aliases are bounded by the yaml library; it throws where they multiply too far. */
function plainValue(document: Document, at: (offset: number) => string): unknown {
  try {
    return document.toJS({ maxAliasCount: 100 });
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    const place = at(offsetOf(document, []));
    throw new KubernetesError("invalid-yaml", printable(`${place}: ${message}`, 500), { cause: error });
  }
}

function joinProblems(problems: readonly string[]): string {
  const shown = problems.slice(0, maxProblems).map((each) => printable(each, 500));
  const rest = problems.length - shown.length;
  return rest > 0 ? `${shown.join("\n")}\n… and ${rest} more` : shown.join("\n");
}

function problemsOf(issue: z.core.$ZodIssue, document: Document): readonly Problem[] {
  if (issue.code === "unrecognized_keys") {
    return issue.keys.map((key) => problem(document, [...issue.path, key], "unknown field"));
  }
  if (issue.code === "invalid_key") {
    return [problem(document, issue.path, issue.issues[0]?.message ?? "wrong key")];
  }
  if (issue.code === "invalid_type" && !document.hasIn(issue.path)) {
    return [problem(document, issue.path, "is missing")];
  }
  if (issue.code === "invalid_type") return [problem(document, issue.path, `must be ${withArticle(issue.expected)}`)];
  if (issue.code === "invalid_value" && issue.values.length > 1) {
    return [problem(document, issue.path, `must be one of ${issue.values.map(String).join(", ")}`)];
  }
  return [problem(document, issue.path, issue.message)];
}

function withArticle(expected: string): string {
  const names: Record<string, string> = {
    object: "a mapping",
    array: "a list",
    record: "a mapping",
    int: "a whole number",
  };
  return names[expected] ?? `a ${expected}`;
}

function problem(document: Document, path: Path, message: string): Problem {
  return { offset: offsetOf(document, path), field: fieldName(path), message };
}

/** `spec.images[3].ref` */
function fieldName(path: Path): string {
  return path.reduce<string>((name, part) => {
    if (typeof part === "number") return `${name}[${part}]`;
    return name === "" ? String(part) : `${name}.${String(part)}`;
  }, "");
}

/** Where `path` stands in the file: its key where it has one, else the nearest thing around it. */
function offsetOf(document: Document, path: Path): number {
  for (let length = path.length; length > 0; length -= 1) {
    const parent = document.getIn(path.slice(0, length - 1), true);
    const last = path[length - 1];
    if (isMap(parent)) {
      const pair = parent.items.find(({ key }) => (isScalar(key) ? key.value : key) === last);
      if (pair !== undefined && isNode(pair.key) && pair.key.range) return pair.key.range[0];
    }
    const node = document.getIn(path.slice(0, length), true);
    if (isNode(node) && node.range) return node.range[0];
  }
  return document.contents?.range?.[0] ?? document.range?.[0] ?? 0;
}
