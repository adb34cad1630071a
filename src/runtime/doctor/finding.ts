/** What one check found. */
export type Finding = {
  readonly name: string;
  /** `warning`: injection works, something else does not, or not as well. `failure`: it does not work. */
  readonly result: "ok" | "warning" | "failure";
  readonly message: string;
  /** What to do; there when `result` is not `ok`. */
  readonly wayOut?: string;
};

export function ok(name: string, message: string): Finding {
  return { name, result: "ok", message };
}

export function warning(name: string, message: string, wayOut: string): Finding {
  return { name, result: "warning", message, wayOut };
}

export function failure(name: string, message: string, wayOut: string): Finding {
  return { name, result: "failure", message, wayOut };
}
