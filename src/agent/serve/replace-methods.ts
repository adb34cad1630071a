/** The same part with some methods replaced; everything else is asked of the part itself each time. */
export function replaceMethods<Part extends object>(part: Part, methods: Partial<Part>): Part {
  return new Proxy(part, {
    get(target, key) {
      const own = Object.hasOwn(methods, key) ? Reflect.get(methods, key) : undefined;
      if (own !== undefined) return own;
      // On the part itself, for its private fields.
      const value: unknown = Reflect.get(target, key, target);
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
}
