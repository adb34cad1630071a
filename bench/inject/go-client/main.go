// Makes the calls of an injection as plainly as they can be made, for comparison: a lease, one empty parent, then for each
// image a snapshot, its documents and its records, then the snapshots of the chains. It checks nothing and repairs nothing.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"

	content "github.com/containerd/containerd/api/services/content/v1"
	images "github.com/containerd/containerd/api/services/images/v1"
	leases "github.com/containerd/containerd/api/services/leases/v1"
	snapshots "github.com/containerd/containerd/api/services/snapshots/v1"
	"github.com/containerd/containerd/api/types"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

type plan struct {
	Address, Namespace string
	// Folder where the disk is mounted.
	Disk   string
	AtOnce int
	Images []image
	Chains [][]snapshot
}

type image struct {
	Snapshot  snapshot
	Documents []document
	Names     []string
	Target    descriptor
}

type snapshot struct{ Name, Parent, Tree string }

type document struct {
	Digest string
	Bytes  []byte
	Labels map[string]string
}

type descriptor struct {
	MediaType, Digest string
	Size              int64
}

const (
	snapshotter = "overlayfs"
	empty       = "bench-empty"
)

type client struct {
	ctx       context.Context
	plan      plan
	snapshots snapshots.SnapshotsClient
	content   content.ContentClient
	images    images.ImagesClient
	leases    leases.LeasesClient
}

func main() {
	work := func() error { return run(os.Args[1]) }
	if os.Args[1] == "bare" {
		work = func() error { return bare(os.Args[2], os.Args[3]) }
	}
	if err := work(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(path string) error {
	var p plan
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(text, &p); err != nil {
		return err
	}
	c, closeConnection, err := connect(p)
	if err != nil {
		return err
	}
	defer closeConnection()
	return c.inject()
}

func connect(p plan) (*client, func() error, error) {
	connection, err := grpc.NewClient("unix://"+p.Address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return nil, nil, err
	}
	ctx := metadata.AppendToOutgoingContext(context.Background(), "containerd-namespace", p.Namespace)
	return &client{
		ctx: ctx, plan: p,
		snapshots: snapshots.NewSnapshotsClient(connection), content: content.NewContentClient(connection),
		images: images.NewImagesClient(connection), leases: leases.NewLeasesClient(connection),
	}, connection.Close, nil
}

// Prepares and commits snapshots one after the other, without a lease, and with no label but the one that keeps them: what a snapshot costs
// at the least.
func bare(address, count string) error {
	snapshotCount, err := strconv.Atoi(count)
	if err != nil {
		return err
	}
	c, closeConnection, err := connect(plan{Address: address, Namespace: "bench-bare"})
	if err != nil {
		return err
	}
	defer closeConnection()
	for i := range snapshotCount {
		name := fmt.Sprintf("bare-%d-%d", os.Getpid(), i)
		labels := map[string]string{"containerd.io/gc.root": "bench"}
		prepare := &snapshots.PrepareSnapshotRequest{Snapshotter: snapshotter, Key: name + "-key", Labels: labels}
		if _, err := c.snapshots.Prepare(c.ctx, prepare); err != nil {
			return err
		}
		commit := &snapshots.CommitSnapshotRequest{Snapshotter: snapshotter, Name: name, Key: name + "-key", Labels: labels}
		if _, err := c.snapshots.Commit(c.ctx, commit); err != nil {
			return err
		}
	}
	return nil
}

func (c *client) inject() error {
	id := fmt.Sprintf("bench-%d", os.Getpid())
	if _, err := c.leases.Create(c.ctx, &leases.CreateRequest{ID: id}); err != nil {
		return err
	}
	base := c.ctx
	defer c.leases.Delete(base, &leases.DeleteRequest{ID: id})
	c.ctx = metadata.AppendToOutgoingContext(c.ctx, "containerd-lease", id)
	if err := c.make([]snapshot{{Name: empty}}); err != nil {
		return err
	}
	// The first alone, as nodewarm does it.
	first := min(1, len(c.plan.Images))
	for _, batch := range [][]image{c.plan.Images[:first], c.plan.Images[first:]} {
		if err := c.injectBatch(batch); err != nil {
			return err
		}
	}
	for _, level := range c.plan.Chains {
		if err := c.make(level); err != nil {
			return err
		}
	}
	return nil
}

func (c *client) injectBatch(batch []image) error {
	tops := make([]snapshot, len(batch))
	for i, each := range batch {
		tops[i] = each.Snapshot
		tops[i].Parent = empty
	}
	made := make(chan error, 1)
	go func() { made <- c.make(tops) }()
	err := sideBySide(c.plan.AtOnce, batch, func(each image) error {
		for _, document := range each.Documents {
			if err := c.write(document); err != nil {
				return err
			}
		}
		return nil
	})
	if err := <-made; err != nil {
		return err
	}
	if err != nil {
		return err
	}
	return sideBySide(c.plan.AtOnce, batch, c.record)
}

// Prepares, links, syncs once, commits.
func (c *client) make(wanted []snapshot) error {
	if len(wanted) == 0 {
		return nil
	}
	prepared := make([]string, len(wanted))
	indexes := make([]int, len(wanted))
	for i := range wanted {
		indexes[i] = i
	}
	err := sideBySide(c.plan.AtOnce, indexes, func(i int) error {
		folder, err := c.prepare(wanted[i])
		prepared[i] = folder
		return err
	})
	if err != nil {
		return err
	}
	file, err := os.Open(filepath.Dir(prepared[0]))
	if err != nil {
		return err
	}
	defer file.Close()
	if err := unix.Syncfs(int(file.Fd())); err != nil {
		return err
	}
	return sideBySide(c.plan.AtOnce, wanted, func(each snapshot) error {
		_, err := c.snapshots.Commit(c.ctx, &snapshots.CommitSnapshotRequest{
			Snapshotter: snapshotter, Name: each.Name, Key: "bench-" + each.Name,
			Labels: map[string]string{"bench/tree": each.Tree, "containerd.io/gc.root": "bench"},
		})
		return err
	})
}

func (c *client) prepare(wanted snapshot) (string, error) {
	answer, err := c.snapshots.Prepare(c.ctx, &snapshots.PrepareSnapshotRequest{
		Snapshotter: snapshotter, Key: "bench-" + wanted.Name, Parent: wanted.Parent,
		Labels: map[string]string{"bench/tree": wanted.Tree},
	})
	if err != nil {
		return "", err
	}
	mount := answer.Mounts[0]
	folder := mount.Source
	for _, option := range mount.Options {
		if upper, found := strings.CutPrefix(option, "upperdir="); found {
			folder = upper
		}
	}
	if wanted.Tree == "" {
		return folder, nil
	}
	if err := os.Remove(folder); err != nil {
		return "", err
	}
	return folder, os.Symlink(filepath.Join(c.plan.Disk, wanted.Tree), folder)
}

func (c *client) write(document document) error {
	stream, err := c.content.Write(c.ctx)
	if err != nil {
		return err
	}
	err = stream.Send(&content.WriteContentRequest{
		Action: content.WriteAction_COMMIT, Ref: "bench-" + document.Digest, Total: int64(len(document.Bytes)),
		Expected: document.Digest, Data: document.Bytes, Labels: document.Labels,
	})
	if err != nil {
		return err
	}
	if _, err := stream.Recv(); err != nil && status.Code(err) != codes.AlreadyExists {
		return err
	}
	return stream.CloseSend()
}

func (c *client) record(each image) error {
	for _, name := range each.Names {
		_, err := c.images.Create(c.ctx, &images.CreateImageRequest{Image: &images.Image{
			Name:   name,
			Target: &types.Descriptor{MediaType: each.Target.MediaType, Digest: each.Target.Digest, Size: each.Target.Size},
			Labels: map[string]string{"io.cri-containerd.image": "managed", "io.cri-containerd.pinned": "pinned"},
		}})
		// CRI makes the record of an image's id as soon as it hears of another one.
		if err != nil && status.Code(err) != codes.AlreadyExists {
			return err
		}
	}
	return nil
}

func sideBySide[Item any](atOnce int, items []Item, work func(Item) error) error {
	next := make(chan Item)
	failures := make(chan error, atOnce)
	var group sync.WaitGroup
	for range atOnce {
		group.Add(1)
		go func() {
			defer group.Done()
			for item := range next {
				if err := work(item); err != nil {
					failures <- err
					for range next {
					}
					return
				}
			}
		}()
	}
	for _, item := range items {
		next <- item
	}
	close(next)
	group.Wait()
	close(failures)
	return <-failures
}
