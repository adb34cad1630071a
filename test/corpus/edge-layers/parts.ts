import { directory, file, tar } from "../../support/tar-maker.ts";

// What several themes use.

/** A file capability, `cap_net_raw+ep`, revision 2. */
export const capability = Buffer.from("0100000200200000000000000000000000000000", "hex");

/** An ACL: owner rw, user 1000 rw, group r, mask rw, others r. */
export const acl = Buffer.from(
  "02000000" + "01000600ffffffff" + "02000600e8030000" + "04000400ffffffff" + "10000600ffffffff" + "20000400ffffffff",
  "hex",
);

export const gzipType = "application/vnd.oci.image.layer.v1.tar+gzip";

export const zstdType = "application/vnd.oci.image.layer.v1.tar+zstd";

export const simple = () => tar(directory("d", { mtime: 5 }), file("d/f", "some text\n", { mtime: 6 }));
