import { open, readFile } from "node:fs/promises";

const selinuxfs = "/sys/fs/selinux";

/**
 * The label of read-only image layers, which containers may read and run: container-selinux (Fedora, RHEL, Amazon Linux,
 * openSUSE) gives it to Docker's `overlay2` and the layers of Podman and CRI-O in its `container.fc`; in Bottlerocket's policy
 * it is another name of `cache_t`, "cached container layers".
 */
const layerContext = "system_u:object_r:container_ro_file_t:s0";

/** Whether this kernel runs with SELinux, enforcing or not. */
export async function isSelinuxEnabled(): Promise<boolean> {
  return (await readFile(`${selinuxfs}/enforce`, "utf8").catch(() => undefined)) !== undefined;
}

/** The label to mount a disk with. Undefined without SELinux, or where the loaded policy does not know the label. */
export async function imageLayerContext(): Promise<string | undefined> {
  return (await isSelinuxEnabled()) && (await isKnownContext(layerContext)) ? layerContext : undefined;
}

/** Writing a label into `context` of selinuxfs fails with EINVAL when the policy does not know it. */
async function isKnownContext(context: string): Promise<boolean> {
  const file = await open(`${selinuxfs}/context`, "r+").catch(() => undefined);
  if (file === undefined) return false;
  try {
    await file.write(`${context}\0`);
    return true;
  } catch {
    return false;
  } finally {
    await file.close();
  }
}
