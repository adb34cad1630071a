/**
 * Layers at the edge of what image builders make. Each stands on the layers named in `parents` (bottom to top); itself is the one under
 * test. Trees are compared with what containerd unpacks, unless `beyondContainerd` says that containerd refuses a form that is read here.
 */
export type EdgeLayer = {
  readonly name: string;
  readonly parents?: readonly string[];
  /** The layer's tar. */
  readonly tar: () => Buffer;
  /** The bytes as stored, where compression is the point; the tar itself otherwise. */
  readonly stored?: () => Buffer;
  readonly mediaType?: string;
  /** Why the layer is refused here; containerd refuses it too unless `onlyHere`. */
  readonly refused?: RegExp;
  readonly onlyHere?: boolean;
  /** The layer alone is read: it is what stands below that makes it impossible. */
  readonly onChain?: boolean;
  /** containerd 1.6 accepts what containerd 2.4 and this refuse. */
  readonly sinceContainerd2?: boolean;
  /** Never give this layer to a program that writes files: it would fill the disk. */
  readonly fillsDisk?: boolean;
  readonly beyondContainerd?: string;
};
