/**
 * Turns parsed JSON into values of known types, for the documents that every build reads. This is no schema library because one
 * has to be loaded by each run: measured with zod 4, 20 MB of memory and 80 ms of CPU time, much of what a small image costs.
 *
 * Fields that a shape does not name are left out, as the specs ask of readers.
 */
export type Shape<T> = (value: unknown, path: string) => T;

/** What a shape reads: `Shaped<typeof manifest>`. */
export type Shaped<S> = S extends Shape<infer T> ? T : never;

/** `path` leads to the value: `layers.0.size`, empty for the whole. Values are never in it: some are secret. */
export type ShapeProblem = { readonly path: string; readonly message: string };

type ShapeResult<T> =
  | { readonly value: T; readonly problem?: undefined }
  | { readonly value?: undefined; readonly problem: ShapeProblem };

class ShapeError extends Error {
  readonly path: string;

  constructor(path: string, message: string) {
    super(message);
    this.path = path;
  }
}

/** Reads `value`, which must come from `JSON.parse`; tells of the first thing that does not fit. */
export function readShape<T>(shape: Shape<T>, value: unknown): ShapeResult<T> {
  try {
    return { value: shape(value, "") };
  } catch (error) {
    if (error instanceof ShapeError) return { problem: { path: error.path, message: error.message } };
    throw error;
  }
}

export const anything: Shape<unknown> = (value) => value;

export const string: Shape<string> = (value, path) => {
  if (typeof value === "string") return value;
  throw unfit("a string", value, path);
};

/** Finite: `JSON.parse` makes infinity of `1e999`. */
export const number: Shape<number> = (value, path) => {
  if (typeof value === "number" && Number.isFinite(value)) return value;
  throw unfit("a number", value, path);
};

/** A count or a size, exact as a number. */
export const naturalNumber: Shape<number> = (value, path) => {
  if (typeof value === "number" && Number.isSafeInteger(value) && value >= 0) return value;
  throw unfit(`a whole number from 0 to ${Number.MAX_SAFE_INTEGER}`, value, path);
};

export const boolean: Shape<boolean> = (value, path) => {
  if (typeof value === "boolean") return value;
  throw unfit("true or false", value, path);
};

/** A string that `test` takes; `needed` says which those are. */
export function stringThat<T extends string>(test: (text: string) => text is T, needed: string): Shape<T> {
  return (value, path) => {
    const text = string(value, path);
    if (test(text)) return text;
    throw new ShapeError(path, `must be ${needed}`);
  };
}

/** The field may be missing, but not `null`. */
export function optional<T>(shape: Shape<T>): Shape<T | undefined> {
  return (value, path) => (value === undefined ? undefined : shape(value, path));
}

/** The field may be missing or `null`: Go writes an absent list as `null`. */
export function orAbsent<T>(shape: Shape<T>): Shape<T | undefined> {
  return (value, path) => (value === undefined || value === null ? undefined : shape(value, path));
}

/** The field must be there, and may be `null`. */
export function orNull<T>(shape: Shape<T>): Shape<T | null> {
  return (value, path) => (value === null ? null : shape(value, path));
}

export function array<T>(item: Shape<T>): Shape<readonly T[]> {
  return (value, path) => {
    if (!Array.isArray(value)) throw unfit("a list", value, path);
    return value.map((each: unknown, i) => item(each, below(path, i)));
  };
}

/** An object whose keys are data. */
export function record<T>(item: Shape<T>): Shape<Readonly<Record<string, T>>> {
  // Not by assignment, to which the key `__proto__` would be special.
  return (value, path) =>
    Object.fromEntries(Object.entries(members(value, path)).map(([key, each]) => [key, item(each, below(path, key))]));
}

/** An object with these fields. */
export function object<T extends object>(fields: { readonly [K in keyof T]: Shape<T[K]> }): Shape<Readonly<T>> {
  const shapes = Object.entries<Shape<unknown>>(fields);
  return (value, path) => {
    const found = members(value, path);
    return Object.fromEntries(shapes.map(([key, shape]) => [key, shape(found[key], below(path, key))])) as T;
  };
}

function members(value: unknown, path: string): Readonly<Record<string, unknown>> {
  if (typeof value === "object" && value !== null && !Array.isArray(value)) return value as Record<string, unknown>;
  throw unfit("an object", value, path);
}

function below(path: string, key: string | number): string {
  return path === "" ? String(key) : `${path}.${key}`;
}

function unfit(needed: string, value: unknown, path: string): ShapeError {
  return new ShapeError(path, value === undefined ? `is missing; must be ${needed}` : `must be ${needed}`);
}
