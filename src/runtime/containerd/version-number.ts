export type Version = { readonly major: number; readonly minor: number; readonly patch: number };

/** `1.6.20~ds1` of Debian's, `v2.1.9` of upstream's; `undefined` for what begins otherwise. */
export function parseVersion(text: string): Version | undefined {
  const found = /^v?(\d+)\.(\d+)\.(\d+)/.exec(text);
  if (found === null) return undefined;
  const [major = 0, minor = 0, patch = 0] = found.slice(1).map(Number);
  return { major, minor, patch };
}

/** Whether a version is `from` or later. */
export function isFrom({ major, minor, patch }: Version, from: readonly [number, number, number]): boolean {
  const [wantedMajor, wantedMinor, wantedPatch] = from;
  if (major !== wantedMajor) return major > wantedMajor;
  return minor === wantedMinor ? patch >= wantedPatch : minor > wantedMinor;
}
