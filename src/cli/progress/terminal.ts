import type { Output } from "../command.ts";
import { harmlessColours } from "../harmless.ts";

const hideCursor = "\u001b[?25l";
const showCursor = "\u001b[?25h";
const clearToEndOfScreen = "\u001b[J";
const clearToEndOfLine = "\u001b[K";

/** A few lines at the bottom of a terminal that are drawn again and again in their place. */
export class TerminalArea {
  readonly #output: Output;
  /** Columns of the lines that stand there now. */
  #widths: readonly number[] = [];
  #hidden = false;
  readonly #restore = () => {
    if (this.#hidden) this.#write(showCursor);
  };

  constructor(output: Output) {
    this.#output = output;
    // Whatever ends the process, the cursor comes back.
    process.once("exit", this.#restore);
  }

  draw(lines: readonly string[]): void {
    const text = lines.map((line) => `${harmlessColours(line)}${clearToEndOfLine}\n`).join("");
    this.#write(`${this.#hidden ? "" : hideCursor}${this.#toTop()}${text}${clearToEndOfScreen}`);
    this.#hidden = true;
    this.#widths = lines.map(visibleColumns);
  }

  /** Removes the area and gives the cursor back. May be called twice. */
  close(): void {
    process.off("exit", this.#restore);
    if (!this.#hidden) return;
    this.#write(`${this.#toTop()}${clearToEndOfScreen}${showCursor}`);
    this.#hidden = false;
    this.#widths = [];
  }

  /** As bytes: text would lose its control sequences (`harmlessIo`). */
  #write(text: string): void {
    this.#output.write(Buffer.from(text));
  }

  /** To the first column of the first line; lines that a narrower window has wrapped count as several. */
  #toTop(): string {
    const columns = Math.max(1, this.#output.columns ?? 80);
    const rows = this.#widths.reduce((sum, width) => sum + Math.max(1, Math.ceil(width / columns)), 0);
    return rows === 0 ? "\r" : `\u001b[${rows}A\r`;
  }
}

function visibleColumns(line: string): number {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: colours are control sequences
  return line.replace(/\u001b\[[0-9;]*m/g, "").length;
}
