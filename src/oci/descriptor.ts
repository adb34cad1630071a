/** `sha256:<64 lower-case hex digits>`. */
export type Digest = `sha256:${string}`;

/** OCI image spec, image index, `platform`. */
export type Platform = {
  readonly os: string;
  readonly architecture: string;
  readonly variant?: string;
};

/** OCI image spec, content descriptor; `size` in bytes. */
export type Descriptor = {
  readonly mediaType: string;
  readonly digest: Digest;
  readonly size: number;
  readonly platform?: Platform;
  readonly urls?: readonly string[];
  readonly annotations?: Readonly<Record<string, string>>;
};

const digestPattern = /^sha256:[0-9a-f]{64}$/;

export function isDigest(text: string): text is Digest {
  return digestPattern.test(text);
}

/** The 64 hex digits of a digest. */
export function digestHex(digest: Digest): string {
  return digest.slice("sha256:".length);
}
