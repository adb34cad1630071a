import { formatBytes, formatClock, formatCount, shortDigest, shortImage } from "../format.ts";
import type { BuildState } from "./build-state.ts";

/** How a frame may look. */
export type FrameStyle = {
  readonly columns: number;
  readonly rows: number;
  /** Whether the terminal shows more than ASCII. */
  readonly unicode: boolean;
  readonly colour: boolean;
};

type Bar = {
  readonly label: string;
  /** 0 to 1. */
  readonly done: number;
  readonly sizes: string;
  readonly rate: string;
  readonly remaining: string;
};

const minBarColumns = 10;
const maxBarColumns = 40;

/** The lines that show `state` at `nowMs`, none wider than the terminal: a bar per running layer, then the total. */
export function renderFrame(state: BuildState, style: FrameStyle, nowMs: number): readonly string[] {
  const bars: Bar[] = [...state.running.values()].map((layer) => ({
    label: `${shortImage(layer.image)} ${shortDigest(layer.diffID).slice("sha256:".length)}`,
    ...measures(layer.bytes, layer.sizeBytes, layer.rate.bytesPerSecond(nowMs)),
  }));
  // The last row belongs to the cursor, the one above to the total.
  const shown = bars.slice(0, Math.max(0, style.rows - 2));
  const total: Bar = {
    label: `${totalLabel(state)} ${formatClock((nowMs - state.startedMs) / 1000)}`,
    ...measures(state.bytes, state.totals.bytes, state.rate.bytesPerSecond(nowMs)),
  };
  return renderBars([...shown, total], style);
}

/** The line that is shown while images are looked up. */
export function renderResolving(done: number, total: number, style: FrameStyle): string {
  return clip(`resolving images ${done}/${total}`, style.columns - 1);
}

function totalLabel(state: BuildState): string {
  if (state.phase === "metadata") return "writing metadata";
  if (state.phase === "sync") return "flushing to disk";
  return `${state.doneLayers}/${formatCount(state.totals.layers, "layer")}`;
}

function measures(bytes: number, ofBytes: number, bytesPerSecond: number): Omit<Bar, "label"> {
  const left = Math.max(0, ofBytes - bytes);
  return {
    done: ofBytes === 0 ? 1 : Math.min(1, bytes / ofBytes),
    sizes: `${formatBytes(bytes)}/${formatBytes(ofBytes)}`,
    rate: `${formatBytes(bytesPerSecond)}/s`,
    remaining: left === 0 ? "" : bytesPerSecond > 0 ? formatClock(left / bytesPerSecond) : "-",
  };
}

/** Lines up the columns of all bars; where the terminal is narrow, leaves out sizes, then the rate, then the bar itself. */
function renderBars(bars: readonly Bar[], style: FrameStyle): readonly string[] {
  const columns = Math.max(20, style.columns) - 1;
  const widest = (pick: (bar: Bar) => string) => Math.max(...bars.map((bar) => pick(bar).length));
  const tails: ((bar: Bar) => string)[] = [(bar) => `${Math.floor(bar.done * 100)}%`.padStart(4)];
  const optional: ((bar: Bar) => string)[] = [(bar) => bar.remaining, (bar) => bar.rate, (bar) => bar.sizes];
  let used = 4;
  const minLabel = Math.min(
    widest(({ label }) => label),
    24,
  );
  for (const pick of optional) {
    const width = widest(pick);
    if (used + 2 + width + minLabel + minBarColumns + 2 > columns) break;
    used += 2 + width;
    tails.push((bar) => pick(bar).padStart(width));
  }
  const [percent, remaining, rate, sizes] = tails;
  const order = [percent, sizes, rate, remaining].filter((pick) => pick !== undefined);
  const room = columns - used;
  const labelColumns = Math.min(
    widest(({ label }) => label),
    Math.max(minLabel, room - minBarColumns - 2),
  );
  const left = room - labelColumns - 2;
  const barColumns = left >= minBarColumns ? Math.min(maxBarColumns, left) : 0;
  return bars.map((bar) => {
    const labelRoom = Math.min(labelColumns, room - 1);
    const label = clip(bar.label, labelRoom).padEnd(labelRoom);
    const drawn = barColumns > 0 ? ` ${drawBar(bar.done, barColumns, style)} ` : " ";
    return `${label}${drawn}${order.map((pick) => pick(bar)).join("  ")}`.trimEnd();
  });
}

function drawBar(done: number, columns: number, { unicode, colour }: FrameStyle): string {
  const filled = Math.floor(done * columns);
  const [full, empty] = unicode ? ["━", "─"] : ["=", "-"];
  const [on, off, end] = colour ? ["\u001b[36m", "\u001b[2m", "\u001b[0m"] : ["", "", ""];
  return `${on}${full.repeat(filled)}${end}${off}${empty.repeat(columns - filled)}${end}`;
}

/** Keeps the end of a long text, where names differ. */
function clip(text: string, columns: number): string {
  if (text.length <= columns) return text;
  return columns <= 3 ? text.slice(0, Math.max(0, columns)) : `...${text.slice(text.length - columns + 3)}`;
}
