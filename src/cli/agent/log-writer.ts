import type { LogLine } from "../../agent/loop/parts.ts";
import type { Output } from "../command.ts";

/** Writes one line for each thing an agent tells: JSON for collectors, else words for people. Secrets never get here. */
export function logWriter(output: Output, isJson: boolean): (line: LogLine) => void {
  if (isJson) {
    return ({ level, message, fields }) => {
      const line = { time: new Date().toISOString(), level, message, ...fields };
      output.write(`${JSON.stringify(line)}\n`);
    };
  }
  return ({ level, message, fields }) => {
    const words = Object.entries(fields).flatMap(([name, value]) => (value === "" ? [] : [`${name}=${quoted(value)}`]));
    const mark = level === "info" ? "" : `${level}: `;
    output.write(`${[`${mark}${message}`, ...words].join(" ")}\n`);
  };
}

function quoted(value: string | number | boolean): string {
  const text = String(value);
  return /^[\w.:/@+-]+$/.test(text) ? text : JSON.stringify(text);
}
