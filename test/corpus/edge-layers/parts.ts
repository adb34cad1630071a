import { directory, file, tar } from "../../support/tar-maker.ts";

// What several themes use.

/** A file capability, `cap_net_raw+ep`, revision 2. */
export const capability = Buffer.from("0100000200200000000000000000000000000000", "hex");

/** An ACL: owner rw, user 1000 rw, group r, mask rw, others r. */
export const acl = Buffer.from(
  "02000000" + "01000600ffffffff" + "02000600e8030000" + "04000400ffffffff" + "10000600ffffffff" + "20000400ffffffff",
  "hex",
);

/** A default ACL: owner rwx, user 2000 rx, group rx, mask rwx, others none. */
export const otherAcl = Buffer.from(
  "02000000" + "01000700ffffffff" + "02000500d0070000" + "04000500ffffffff" + "10000700ffffffff" + "20000000ffffffff",
  "hex",
);

/** An ACL that says no more than a mode: 0750. */
export const minimalAcl = Buffer.from("02000000" + "01000700ffffffff" + "04000500ffffffff" + "20000000ffffffff", "hex");

export const gzipType = "application/vnd.oci.image.layer.v1.tar+gzip";

export const zstdType = "application/vnd.oci.image.layer.v1.tar+zstd";

export const simple = () => tar(directory("d", { mtime: 5 }), file("d/f", "some text\n", { mtime: 6 }));
