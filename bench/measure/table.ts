/** A Markdown table whose columns line up in a terminal: the first left, the others right. */
export function markdownTable(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const widths = head.map((title, column) =>
    Math.max(3, ...[title, ...rows.map((row) => row[column] ?? "")].map(width)),
  );
  const line = (cells: readonly string[]) =>
    `| ${widths.map((size, column) => pad(cells[column] ?? "", size, column > 0)).join(" | ")} |`;
  const rule = `|${widths.map((size, column) => (column > 0 ? `${"-".repeat(size + 1)}:` : "-".repeat(size + 2))).join("|")}|`;
  return [line(head), rule, ...rows.map(line)].join("\n");
}

/** Decimal megabytes with as many digits as tell something. */
export function megabytes(bytes: number): string {
  return significant(bytes / 1e6);
}

export function mebibytes(bytes: number): string {
  return significant(bytes / (1 << 20));
}

/** Three significant digits, but never an exponent. */
export function significant(value: number): string {
  if (!Number.isFinite(value)) return "";
  const size = Math.abs(value);
  return value.toFixed(size >= 100 ? 0 : size >= 10 ? 1 : 2);
}

/** Thousands with commas: 3000000 is `3,000,000`. */
export function count(value: number): string {
  return value.toLocaleString("en-US");
}

function width(text: string): number {
  return [...text].length;
}

function pad(text: string, size: number, right: boolean): string {
  const fill = " ".repeat(Math.max(0, size - width(text)));
  return right ? fill + text : text + fill;
}
