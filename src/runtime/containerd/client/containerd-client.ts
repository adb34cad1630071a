import { Channel } from "./channel.ts";
import { type ContainerService, containerService } from "./containers.ts";
import { type ContentManager, type ContentReader, contentManager, contentReader } from "./content.ts";
import { type ContentWriter, contentWriter, type IngestService, ingestService } from "./content-writer.ts";
import { type DiffService, diffService } from "./diffs.ts";
import { type EventPublisher, type EventService, eventPublisher, eventService } from "./events.ts";
import { GrpcConnection } from "./grpc-connection.ts";
import { type ImageService, imageService } from "./images.ts";
import { type IntrospectionService, introspectionService } from "./introspection.ts";
import { type LeaseResourceService, type LeaseService, leaseResourceService, leaseService } from "./leases.ts";
import { type NamespaceService, namespaceService } from "./namespaces.ts";
import { type SnapshotReader, type SnapshotWriter, snapshotReader, snapshotWriter } from "./snapshots.ts";
import { type VersionService, versionService } from "./version.ts";

/**
 * A containerd daemon over its socket. Connects with the first call, and again after the daemon was restarted: calls under way
 * then fail with `unavailable`, later ones go through. Every call throws `RuntimeError`, or the reason of its signal.
 */
export type ContainerdClient = Disposable & {
  /** Path of the socket. */
  readonly address: string;
  readonly version: VersionService;
  readonly introspection: IntrospectionService;
  readonly namespaces: NamespaceService;
  /** Of all namespaces. */
  readonly events: EventService;
  withNamespace(namespace: string): NamespaceClient;
  /** Ends the connection and all calls on it. */
  close(): void;
};

/** What a containerd daemon has in one namespace. */
export type NamespaceClient = {
  readonly leases: LeaseService;
  readonly leaseResources: LeaseResourceService;
  readonly content: ContentReader;
  readonly contentWriter: ContentWriter;
  readonly contentManager: ContentManager;
  readonly ingests: IngestService;
  readonly diffs: DiffService;
  readonly images: ImageService;
  readonly containers: ContainerService;
  readonly events: EventPublisher;
  snapshots(snapshotter: string): SnapshotReader;
  snapshotWriter(snapshotter: string): SnapshotWriter;
  /** The same namespace; what is made through it (snapshots, content) is held by the lease until that is deleted. */
  withLease(leaseID: string): NamespaceClient;
};

/** `address`: path of the socket, such as `/run/containerd/containerd.sock`. Does not connect yet. */
export function openContainerd(address: string): ContainerdClient {
  const connection = new GrpcConnection(address);
  const channel = new Channel(connection);
  const close = () => connection.close();
  return {
    address: connection.address,
    version: versionService(channel),
    introspection: introspectionService(channel),
    namespaces: namespaceService(channel),
    events: eventService(channel),
    withNamespace: (namespace) => namespaceClient(channel.with({ "containerd-namespace": namespace })),
    close,
    [Symbol.dispose]: close,
  };
}

function namespaceClient(channel: Channel): NamespaceClient {
  return {
    leases: leaseService(channel),
    leaseResources: leaseResourceService(channel),
    content: contentReader(channel),
    contentWriter: contentWriter(channel),
    contentManager: contentManager(channel),
    ingests: ingestService(channel),
    diffs: diffService(channel),
    images: imageService(channel),
    containers: containerService(channel),
    events: eventPublisher(channel),
    snapshots: (snapshotter) => snapshotReader(channel, snapshotter),
    snapshotWriter: (snapshotter) => snapshotWriter(channel, snapshotter),
    withLease: (leaseID) => namespaceClient(channel.with({ "containerd-lease": leaseID })),
  };
}
