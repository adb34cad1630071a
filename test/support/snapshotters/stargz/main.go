// Program stargz is a stargz snapshotter as small as the tests need it, and makes the layers that it reads lazily.
//
//	stargz serve ROOT SOCKET    serves containerd's snapshots API until it is told to stop
//	stargz build TAR LAYER      writes an eStargz layer; prints the digest of its table of contents
package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"syscall"

	snapshots "github.com/containerd/containerd/api/services/snapshots/v1"
	"github.com/containerd/containerd/v2/contrib/snapshotservice"
	"github.com/containerd/stargz-snapshotter/estargz"
	"github.com/containerd/stargz-snapshotter/fs/config"
	"github.com/containerd/stargz-snapshotter/service"
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
	case len(words) == 3 && words[0] == "serve":
		return serve(words[1], words[2])
	case len(words) == 3 && words[0] == "build":
		return build(words[1], words[2])
	}
	return fmt.Errorf("usage: stargz serve ROOT SOCKET | stargz build TAR LAYER")
}

func serve(root, socket string) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	// What nobody has read yet stays in the registry.
	settings := service.Config{Config: config.Config{NoPrefetch: true, NoBackgroundFetch: true, NoPrometheus: true}}
	snapshotter, err := service.NewStargzSnapshotterService(ctx, root, &settings)
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
	server := grpc.NewServer()
	snapshots.RegisterSnapshotsServer(server, snapshotservice.FromSnapshotter(snapshotter))
	go func() {
		<-ctx.Done()
		server.Stop()
	}()
	return server.Serve(listener)
}

func build(archive, layer string) error {
	input, err := os.Open(archive)
	if err != nil {
		return err
	}
	defer input.Close()
	status, err := input.Stat()
	if err != nil {
		return err
	}
	blob, err := estargz.Build(io.NewSectionReader(input, 0, status.Size()))
	if err != nil {
		return err
	}
	defer blob.Close()
	output, err := os.Create(layer)
	if err != nil {
		return err
	}
	if _, err := io.Copy(output, blob); err != nil {
		return err
	}
	if err := output.Close(); err != nil {
		return err
	}
	fmt.Println(blob.TOCDigest())
	return nil
}
