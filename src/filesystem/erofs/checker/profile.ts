/**
 * Which rules an image is checked against: those of every uncompressed EROFS image, those of the disk format for a disk
 * (`docs/disk-format.md`, sections 1 to 3), or for a layer image on it.
 */
export type Profile = "any" | "disk" | "layer-image";
