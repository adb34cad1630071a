import type { Condition, InjectedImage, InjectReport } from "../../runtime/runtime.ts";
import { formatCount, formatSeconds, shortDigest, shortImage } from "../format.ts";
import { oneLine } from "../harmless.ts";
import { renderTable } from "../table.ts";

export type InjectedDisk = { readonly path: string; readonly report: InjectReport };

/** What was done in one runtime, for people. */
export function describeInjection(runtime: string, disks: readonly InjectedDisk[]): string {
  const rows = disks.flatMap(({ report }) =>
    report.images.flatMap(({ names, digest, result, chain }) =>
      (names.length > 0 ? names : [digest]).map((name) => [shortImage(name), shortDigest(digest), result, chain]),
    ),
  );
  const table = rows.length === 0 ? "" : renderTable([["IMAGE", "DIGEST", "RESULT", "CHAIN"], ...rows]);
  const lines = disks.map(({ path, report }) => summary(path, report));
  const notes = disks.flatMap(({ report }) => [
    ...report.conditions,
    ...report.images.flatMap(({ conditions }) => conditions),
  ]);
  return `${runtime}\n${table}${lines.join("")}${describeConditions(notes)}`;
}

function summary(path: string, { disk, images, calls, transactions, seconds }: InjectReport): string {
  const count = (result: InjectedImage["result"]) => images.filter((image) => image.result === result).length;
  const [injected, present, skipped] = [count("injected"), count("present"), count("skipped")];
  const others = [
    ...(present > 0 ? [`${formatCount(present)} usable before`] : []),
    ...(skipped > 0 ? [`${formatCount(skipped)} skipped`] : []),
  ];
  const pending = images.filter(({ chain, result }) => chain === "pending" && result !== "skipped").length;
  const layers =
    pending > 0
      ? `layers of ${formatCount(pending)} left to the next run`
      : `layers after another ${formatSeconds(seconds.chains)}`;
  return (
    `${path} (${disk.slice(0, 12)}): ${[formatCount(injected, "image"), ...others].join(", ")}; ` +
    `usable after ${formatSeconds(seconds.usable)}, ${layers}; ${formatCount(calls, "call")}, ${formatCount(transactions, "transaction")}\n`
  );
}

/** Each condition once. */
export function describeConditions(conditions: readonly Condition[], indent = ""): string {
  const lines = conditions.map(({ type, message }) => `${indent}${type}: ${oneLine(message)}\n`);
  return [...new Set(lines)].join("");
}
