/** A pattern for images of kubelet's: a host in which each part may have globs, a port, the beginning of a path. */
type ImagePattern = { readonly hostParts: readonly string[]; readonly port: string; readonly path: string };

/**
 * Whether `pattern` matches an image without tag and digest (`host/path`), as kubelet's `matchImages` and the keys of credential providers
 * do (`pkg/credentialprovider/keyring.go`): as many parts of the host, each matched by its glob; the same port or none in both; the path of
 * the pattern at the beginning of that of the image, letter by letter.
 */
export function matchesImage(pattern: string, image: string): boolean {
  const wanted = parse(pattern);
  const given = parse(image);
  if (!wanted || !given) return false;
  if (wanted.port !== given.port || wanted.hostParts.length !== given.hostParts.length) return false;
  if (!given.path.startsWith(wanted.path)) return false;
  return wanted.hostParts.every((glob, i) => matchesPart(glob, given.hostParts[i] ?? ""));
}

/** Whether a text can be a pattern at all. */
export function isImagePattern(text: string): boolean {
  const pattern = parse(text);
  return pattern?.hostParts.every((part) => tokensOf(part) !== undefined) ?? false;
}

/** The order in which kubelet tries keys: reversed bytewise, so longer ones and those without globs come first. */
export function bySpecificity(a: string, b: string): number {
  return Buffer.compare(Buffer.from(b), Buffer.from(a));
}

function parse(text: string): ImagePattern | undefined {
  if (/[\s#?\\]/.test(text.replace(/^[^/]*/, "")) || /\s/.test(text)) return undefined;
  const slash = text.indexOf("/");
  const authority = slash < 0 ? text : text.slice(0, slash);
  const [, host = "", port = ""] = /^(\[[^\]]*\]|[^:]*)(?::(\d*))?$/.exec(authority) ?? [];
  if (host === "") return undefined;
  // An address of IPv6 is no class of characters.
  const hostParts = host.startsWith("[") && host.includes(":") ? [host.slice(1, -1)] : host.split(".");
  return { hostParts, port, path: slash < 0 ? "" : text.slice(slash) };
}

/** One character of a glob: `star` stands for any number of any. */
type Token = "star" | ((character: string) => boolean);

/** In time that grows with the product of the lengths at most, whatever the glob. */
function matchesPart(glob: string, part: string): boolean {
  const tokens = tokensOf(glob);
  if (!tokens) return false;
  let [at, from] = [0, 0];
  let star: { at: number; from: number } | undefined;
  while (from < part.length) {
    const token = tokens[at];
    if (token === "star") {
      star = { at: ++at, from };
    } else if (token?.(part.charAt(from))) {
      at++;
      from++;
    } else if (star) {
      // The last star takes one character more.
      at = star.at;
      from = ++star.from;
    } else return false;
  }
  return tokens.slice(at).every((token) => token === "star");
}

/** Go's `path/filepath.Match` without separators: `*`, `?`, `[a-z]`, `[^a-z]`, `\\c`. `undefined` for what that refuses. */
function tokensOf(glob: string): Token[] | undefined {
  const tokens: Token[] = [];
  for (let i = 0; i < glob.length; i++) {
    const character = glob.charAt(i);
    if (character === "*") tokens.push("star");
    else if (character === "?") tokens.push(() => true);
    else if (character === "[") {
      const [whole, negation, ranges] = /^\[(\^?)((?:\\.|[^\]\\])+)\]/.exec(glob.slice(i)) ?? [];
      const isIn = ranges === undefined ? undefined : rangesOf(ranges);
      if (whole === undefined || !isIn) return undefined;
      tokens.push((each) => isIn(each) === (negation === ""));
      i += whole.length - 1;
    } else {
      const literal = character === "\\" ? glob.charAt(++i) : character;
      if (literal === "") return undefined;
      tokens.push((each) => each === literal);
    }
  }
  return tokens;
}

/** `a-z0-9x`; a backslash takes the next character as it is. */
function rangesOf(text: string): ((character: string) => boolean) | undefined {
  const ranges: { readonly low: string; readonly high: string }[] = [];
  const range = /(?:\\(.)|([^\\-]))(?:-(?:\\(.)|([^\\-])))?/sy;
  for (let found = range.exec(text); found; found = range.exec(text)) {
    const low = found[1] ?? found[2] ?? "";
    ranges.push({ low, high: found[3] ?? found[4] ?? low });
    if (range.lastIndex === text.length) return (each) => ranges.some(({ low, high }) => low <= each && each <= high);
  }
  return undefined;
}
