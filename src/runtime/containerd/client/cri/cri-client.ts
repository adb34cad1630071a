import { Channel } from "../channel.ts";
import { GrpcConnection } from "../grpc-connection.ts";
import {
  type CriContainerInspection,
  type CriContainerService,
  criContainerInspection,
  criContainerService,
} from "./cri-containers.ts";
import { type CriImageService, criImageService } from "./cri-images.ts";
import { type CriPodService, criPodService } from "./cri-pods.ts";
import { type CriRuntimeService, criRuntimeService } from "./cri-runtime.ts";

/** The Kubernetes Container Runtime Interface (`runtime.v1`), as kubelet uses it. */
export type CriClient = Disposable & {
  readonly runtime: CriRuntimeService;
  readonly images: CriImageService;
  readonly pods: CriPodService;
  readonly containers: CriContainerService;
  readonly inspection: CriContainerInspection;
  /** Ends the connection and all calls on it. */
  close(): void;
};

/** `address`: path of the socket; containerd's own serves the CRI, too. Does not connect yet, and connects again. */
export function openCri(address: string): CriClient {
  const connection = new GrpcConnection(address);
  const channel = new Channel(connection);
  const close = () => connection.close();
  return {
    runtime: criRuntimeService(channel),
    images: criImageService(channel),
    pods: criPodService(channel),
    containers: criContainerService(channel),
    inspection: criContainerInspection(channel),
    close,
    [Symbol.dispose]: close,
  };
}
