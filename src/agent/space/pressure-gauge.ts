import { readFile } from "node:fs/promises";

/** Says whether the node has better to do than to fetch what can wait. */
export interface PressureGauge {
  /** What troubles it, for a person; empty when nothing does, or when the kernel does not tell. */
  measure(): Promise<string>;
}

/**
 * Share of the last ten seconds in which some task waited (PSI, Documentation/accounting/psi.rst), in percent. Fetching itself waits for the
 * disk most of the time on slow ones: so only what stops everything counts there.
 */
const limits = [
  { file: "/proc/pressure/io", kind: "full", percent: 60, what: "disks" },
  { file: "/proc/pressure/cpu", kind: "some", percent: 80, what: "processors" },
] as const;

/** Reads the kernel's pressure stall information. */
export class PsiGauge implements PressureGauge {
  async measure(): Promise<string> {
    for (const { file, kind, percent, what } of limits) {
      const text = await readFile(file, "utf8").catch(() => "");
      const found = pressureOf(text, kind);
      if (found >= percent) return `the node waits for its ${what} ${found.toFixed(0)} % of the time`;
    }
    return "";
  }
}

/** `avg10` of one line of a pressure file; 0 where there is none. */
export function pressureOf(text: string, kind: "some" | "full"): number {
  const line = text.split("\n").find((each) => each.startsWith(`${kind} `)) ?? "";
  return Number(/ avg10=([\d.]+)/.exec(line)?.[1] ?? 0);
}
