/** Number of a device, as `mountinfo`, `/sys/dev/block` and messages write it: major:minor. */
export type DeviceNumber = { readonly major: number; readonly minor: number };

export function formatDeviceNumber({ major, minor }: DeviceNumber): string {
  return `${major}:${minor}`;
}

export function sameDevice(a: DeviceNumber, b: DeviceNumber): boolean {
  return a.major === b.major && a.minor === b.minor;
}

/**
 * Takes apart `st_dev`, `st_rdev` or the `lo_device` of a loop device: 12 bits of major from bit 8, the minor in bits 0 to 7
 * and from bit 20 (include/linux/kdev_t.h, `new_decode_dev`).
 */
export function decodeDeviceNumber(value: number | bigint): DeviceNumber {
  const bits = BigInt(value);
  return {
    major: Number((bits >> 8n) & 0xfffn),
    minor: Number((bits & 0xffn) | ((bits >> 12n) & 0xfff00n)),
  };
}
