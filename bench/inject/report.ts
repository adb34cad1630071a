import { median } from "../measure/statistics.ts";
import { count, markdownTable, megabytes, significant } from "../measure/table.ts";
import type { InjectSet, SetShape } from "./image-set.ts";
import type { Timeline } from "./measured-node.ts";
import type { InjectRun, SlowRun } from "./methods.ts";
import type { Starts } from "./starts.ts";

/** All that was measured with one set. */
export type Row = {
  readonly set: InjectSet;
  readonly inject: readonly InjectRun[];
  readonly go: readonly Timeline[];
  readonly pull: SlowRun;
  readonly imported: SlowRun;
};

export function renderRows(rows: readonly Row[]): string {
  const parts = [
    markdownTable(
      [
        "images / layers / GB",
        "first ms",
        "usable ms",
        "chains ms",
        "Go usable",
        "Go chains",
        "pull s",
        "import s",
        "usable/pull",
        "usable/import",
      ],
      rows.map(({ set, inject, go, pull, imported }) => {
        const usable = middle(inject, (run) => run.usableMs);
        return [
          shape(set),
          ms(middle(inject, (run) => run.firstMs)),
          ms(usable),
          ms(middle(inject, (run) => run.chainsMs)),
          go.length === 0 ? "" : ms(middle(go, (run) => run.usableMs)),
          go.length === 0 ? "" : ms(middle(go, (run) => run.chainsMs)),
          significant(pull.seconds),
          significant(imported.seconds),
          `1/${((pull.seconds * 1000) / usable).toFixed(0)}`,
          `1/${((imported.seconds * 1000) / usable).toFixed(0)}`,
        ];
      }),
    ),
    "Milliseconds from the execution of the program to containerd's own events, medians; a container of the last image ran after each.",
    markdownTable(
      [
        "images / layers / GB",
        "transactions",
        "calls",
        "written MB by containerd",
        "KB a snapshot",
        "disk MB",
        "read of it MB",
      ],
      rows.map(({ set, inject }) => {
        const written = middle(inject, (run) => run.writtenBytes);
        return [
          shape(set),
          count(inject[0]?.report.transactions ?? 0),
          count(inject[0]?.report.calls ?? 0),
          megabytes(written),
          significant(written / set.layers / 1e3),
          megabytes(set.diskBytes),
          megabytes(middle(inject, (run) => run.readBytes)),
        ];
      }),
    ),
  ];
  return parts.join("\n\n");
}

export function bytesTable(sets: readonly InjectSet[], runs: readonly (readonly InjectRun[])[]): string {
  return markdownTable(
    ["images / layers / GB", "usable ms", "chains ms", "disk MB", "read of it MB"],
    sets.map((set, index) => {
      const each = runs[index] ?? [];
      return [
        shape(set),
        ms(middle(each, (run) => run.usableMs)),
        ms(middle(each, (run) => run.chainsMs)),
        megabytes(set.diskBytes),
        megabytes(middle(each, (run) => run.readBytes)),
      ];
    }),
  );
}

export function startsTable({ injected, pulled }: Starts): string {
  const row = (name: string, from: typeof injected) => [name, ms(median(from.echo)), ms(median(from.read))];
  return markdownTable(
    ["container start, cold page cache, ms", "echo", "read a tenth of the image"],
    [row("injected", injected), row("pulled", pulled)],
  );
}

function shape({ images, layers, bytes }: SetShape): string {
  return `${images} / ${layers} / ${bytes / 1e9}`;
}

function middle<Run>(runs: readonly Run[], of: (run: Run) => number): number {
  return median(runs.map(of));
}

function ms(value: number): string {
  return value.toFixed(0);
}
