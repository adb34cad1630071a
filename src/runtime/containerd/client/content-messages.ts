import { bytes, int32, int64, labels, nested, nestedList, string, strings } from "./message.ts";
import { empty, fieldMask, nestedTimestamp } from "./well-known.ts";

const service = "containerd.services.content.v1.Content";

export const infoMessage = {
  digest: string(1),
  size: int64(2),
  createdAt: nestedTimestamp(3),
  updatedAt: nestedTimestamp(4),
  labels: labels(5),
};

export const statusMessage = { ref: string(3), offset: int64(4), total: int64(5), expected: string(6) };

/** enum WriteAction */
export const writeAction = { stat: 0, write: 1, commit: 2 };

export const contentMethods = {
  info: { name: `${service}/Info`, request: { digest: string(1) }, response: { info: nested(1, infoMessage) } },
  update: {
    name: `${service}/Update`,
    request: { info: nested(1, infoMessage), updateMask: nested(2, fieldMask) },
    response: { info: nested(1, infoMessage) },
  },
  list: { name: `${service}/List`, request: { filters: strings(1) }, response: { info: nestedList(1, infoMessage) } },
  delete: { name: `${service}/Delete`, request: { digest: string(1) }, response: empty },
  read: {
    name: `${service}/Read`,
    request: { digest: string(1), offset: int64(2), size: int64(3) },
    response: { offset: int64(1), data: bytes(2) },
  },
  status: { name: `${service}/Status`, request: { ref: string(1) }, response: { status: nested(1, statusMessage) } },
  listStatuses: {
    name: `${service}/ListStatuses`,
    request: { filters: strings(1) },
    response: { statuses: nestedList(1, statusMessage) },
  },
  write: {
    name: `${service}/Write`,
    request: {
      action: int32(1),
      ref: string(2),
      total: int64(3),
      expected: string(4),
      offset: int64(5),
      data: bytes(6),
      labels: labels(7),
    },
    response: { action: int32(1), offset: int64(4), total: int64(5), digest: string(6) },
  },
  abort: { name: `${service}/Abort`, request: { ref: string(1) }, response: empty },
};
