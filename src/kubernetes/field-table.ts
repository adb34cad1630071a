import { z } from "zod";

type JsonSchema = {
  readonly type?: string;
  readonly description?: string;
  readonly default?: unknown;
  readonly properties?: Readonly<Record<string, JsonSchema>>;
  readonly required?: readonly string[];
  readonly items?: JsonSchema;
  readonly anyOf?: readonly JsonSchema[];
};

/** Markdown table of all fields of a kind, their defaults and meaning, made from the schema that validates its documents. */
export function fieldTable(kind: z.ZodType): string {
  const schema = z.toJSONSchema(kind, { io: "input" }) as JsonSchema;
  const rows = fieldsOf(schema, "").map(({ name, needed, field }) => {
    const fallback = field.default === undefined ? (needed ? "required" : "") : `\`${JSON.stringify(field.default)}\``;
    return `| \`${name}\` | ${fallback} | ${field.description ?? ""} |`;
  });
  return ["| field | default | |", "|---|---|---|", ...rows, ""].join("\n");
}

type Row = { readonly name: string; readonly needed: boolean; readonly field: JsonSchema };

function fieldsOf(schema: JsonSchema, prefix: string): readonly Row[] {
  return Object.entries(schema.properties ?? {}).flatMap(([key, field]) => {
    const name = `${prefix}${key}`;
    const inner = field.items?.properties ? { schema: field.items, prefix: `${name}[].` } : undefined;
    const choices = (field.anyOf ?? []).flatMap((choice) => fieldsOf(choice, `${name}.`));
    return [
      { name, needed: schema.required?.includes(key) ?? false, field },
      ...choices,
      ...(inner ? fieldsOf(inner.schema, inner.prefix) : fieldsOf(field, `${name}.`)),
    ];
  });
}
