// Program soci is a SOCI snapshotter as small as the tests need it, and makes the tables of contents by which it reads layers lazily.
//
//	soci serve ROOT SOCKET CONTAINERD    serves containerd's snapshots API until it is told to stop; keeps tables in containerd
//	soci index LAYER ZTOC                writes the table of contents of a layer that is compressed with gzip
package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/awslabs/soci-snapshotter/config"
	"github.com/awslabs/soci-snapshotter/fs"
	"github.com/awslabs/soci-snapshotter/metadata"
	"github.com/awslabs/soci-snapshotter/service"
	"github.com/awslabs/soci-snapshotter/ztoc"
	snapshots "github.com/containerd/containerd/api/services/snapshots/v1"
	"github.com/containerd/containerd/contrib/snapshotservice"
	"github.com/containerd/containerd/namespaces"
	bolt "go.etcd.io/bbolt"
	"google.golang.org/grpc"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(words []string) error {
	switch {
	case len(words) == 4 && words[0] == "serve":
		return serve(words[1], words[2], words[3])
	case len(words) == 3 && words[0] == "index":
		return index(words[1], words[2])
	}
	return fmt.Errorf("usage: soci serve ROOT SOCKET CONTAINERD | soci index LAYER ZTOC")
}

func serve(root, socket, containerd string) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	settings := config.NewConfig().ServiceConfig
	// What nobody has read yet stays in the registry, however small it is.
	settings.BackgroundFetchConfig.Disable = true
	settings.MinLayerSize = 0
	settings.NoPrometheus = true
	// Its own store would lie outside of its root.
	settings.ContentStoreConfig = config.ContentStoreConfig{
		Type:              config.ContainerdContentStoreType,
		ContainerdAddress: containerd,
	}
	database, err := bolt.Open(filepath.Join(root, "tables.db"), 0o600, nil)
	if err != nil {
		return err
	}
	defer database.Close()
	tables := func(layer *io.SectionReader, table ztoc.TOC, options ...metadata.Option) (metadata.Reader, error) {
		return metadata.NewReader(database, layer, table, options...)
	}
	options := service.WithFilesystemOptions(fs.WithMetadataStore(tables))
	snapshotter, err := service.NewSociSnapshotterService(ctx, root, &settings, options)
	if err != nil {
		return err
	}
	defer snapshotter.Close()
	if err := os.RemoveAll(socket); err != nil {
		return err
	}
	listener, err := net.Listen("unix", socket)
	if err != nil {
		return err
	}
	server := grpc.NewServer(grpc.UnaryInterceptor(keepNamespace))
	snapshots.RegisterSnapshotsServer(server, snapshotservice.FromSnapshotter(snapshotter))
	go func() {
		<-ctx.Done()
		server.Stop()
	}()
	return server.Serve(listener)
}

// keepNamespace passes on the namespace of a call to what is asked of containerd meanwhile. Its types are those of
// grpc.UnaryServerInterceptor, which knows no types of messages.
func keepNamespace(ctx context.Context, request any, _ *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (any, error) {
	if namespace, ok := namespaces.Namespace(ctx); ok {
		ctx = namespaces.WithNamespace(ctx, namespace)
	}
	return handle(ctx, request)
}

func index(layer, file string) error {
	table, err := ztoc.NewBuilder("test").BuildZtoc(layer, 1<<20, ztoc.WithCompression("gzip"))
	if err != nil {
		return err
	}
	reader, _, err := ztoc.Marshal(table)
	if err != nil {
		return err
	}
	output, err := os.Create(file)
	if err != nil {
		return err
	}
	if _, err := io.Copy(output, reader); err != nil {
		return err
	}
	return output.Close()
}
