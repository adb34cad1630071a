import { hash } from "node:crypto";
import { DiskReader } from "../../src/disk/reader/disk-reader.ts";
import { digestUnits } from "../../src/disk/verify/coverage.ts";
import { MemorySource } from "../../src/filesystem/byte-source.ts";
import { blockBytes, superblock } from "../../src/filesystem/erofs/constants.ts";
import { crc32c } from "../../src/filesystem/erofs/reader/crc32c.ts";

/**
 * A copy of a disk with a change, and with all digests, the id, the UUID and the checksum made right again: what remains wrong
 * must be found by what the disk says, not by a digest.
 */
export async function resealed(
  disk: Buffer,
  change: (bytes: Buffer, reader: DiskReader) => void | Promise<void>,
): Promise<Buffer> {
  const bytes = Buffer.from(disk);
  const reader = await DiskReader.open(new MemorySource(Buffer.from(disk)));
  const oldId = reader.id;
  const index = await reader.lookup("nodewarm.json");
  const table = await reader.lookup("nodewarm.files");
  const tableAt = table.union * blockBytes;
  const oldTable = disk.subarray(tableAt, tableAt + table.sizeBytes);
  await change(bytes, reader);

  const tableBytes = bytes.subarray(tableAt, tableAt + table.sizeBytes);
  const idAt = bytes.indexOf(`"id": "${oldId}"`, index.union * blockBytes) + '"id": "'.length;
  const { checksum, position, uuid } = superblock;
  bytes.fill("0", idAt, idAt + 64);
  bytes.fill(0, position + checksum, position + checksum + 4);
  bytes.fill(0, position + uuid, position + uuid + 16);
  for (const unit of digestUnits(reader.files)) {
    const at = oldTable.indexOf(unit.digest);
    hash("sha256", bytes.subarray(unit.position, unit.position + unit.length), "buffer").copy(tableBytes, at);
  }
  const id = hash("sha256", tableBytes, "hex");
  bytes.write(id, idAt);
  bytes.write(id.slice(0, 32), position + uuid, "hex");
  bytes.writeUInt32LE(crc32c(0xffff_ffff, bytes.subarray(position, blockBytes)), position + checksum);
  return bytes;
}
