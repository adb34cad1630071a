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
  return pattern?.hostParts.every((part) => globExpression(part) !== undefined) ?? false;
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
  return { hostParts: host.split("."), port, path: slash < 0 ? "" : text.slice(slash) };
}

function matchesPart(glob: string, part: string): boolean {
  return globExpression(glob)?.test(part) ?? false;
}

/** Go's `path/filepath.Match` without separators: `*`, `?`, `[a-z]`, `[^a-z]`, `\c`. `undefined` for what that refuses. */
function globExpression(glob: string): RegExp | undefined {
  let source = "";
  for (let i = 0; i < glob.length; i++) {
    const character = glob.charAt(i);
    if (character === "*") source += ".*";
    else if (character === "?") source += ".";
    else if (character === "\\") {
      if (++i >= glob.length) return undefined;
      source += escapeRegExp(glob.charAt(i));
    } else if (character === "[") {
      const [whole, negation, ranges] =
        /^\[(\^?)((?:(?:\\.|[^\]\\-])(?:-(?:\\.|[^\]\\-]))?)+)\]/.exec(glob.slice(i)) ?? [];
      if (whole === undefined || ranges === undefined) return undefined;
      source += `[${negation}${ranges.replace(/[\^[]/g, "\\$&")}]`;
      i += whole.length - 1;
    } else source += escapeRegExp(character);
  }
  try {
    return new RegExp(`^${source}$`, "s");
  } catch {
    return undefined;
  }
}

function escapeRegExp(text: string): string {
  return text.replace(/[.*+?^${}()|[\]\\/-]/g, "\\$&");
}
