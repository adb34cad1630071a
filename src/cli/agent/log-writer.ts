import { type Log, logEvents } from "../../agent/log-line.ts";
import type { Output } from "../command.ts";

/**
 * Writes one line for each thing an agent tells: for collectors JSON, with `time` (UTC), `level` and `event` first; else words for people.
 * Secrets never get here.
 */
export function logWriter(output: Output, isJson: boolean, now = () => new Date()): Log {
  if (isJson) {
    return ({ event, runtime, fields }) => {
      const line = { time: now().toISOString(), level: logEvents[event].level, event, runtime, ...fields };
      output.write(`${JSON.stringify(line)}\n`);
    };
  }
  return ({ event, runtime, fields }) => {
    const { level } = logEvents[event];
    const pairs = Object.entries({ ...fields, runtime }).filter(([, value]) => value !== undefined);
    const words = pairs.map(([name, value]) => `${name}=${quoted(value)}`);
    output.write(`${level === "info" ? "" : `${level}: `}${[event, ...words].join(" ")}\n`);
  };
}

function quoted(value: string | number | undefined): string {
  const text = String(value);
  return /^[\w.:/@+-]+$/.test(text) ? text : JSON.stringify(text);
}
