package criu

import (
	"context"
	"os"

	"google.golang.org/protobuf/proto"

	"github.com/checkpoint-restore/go-criu/v8/rpc"
)

// Dump saves the tree of opts.Pid. Without a pid it saves this very process; Checkpoint then tells which one goes on.
func (c *Criu) Dump(opts *rpc.CriuOpts, nfy Notify) error {
	return c.DumpContext(context.Background(), opts, nfy)
}

// DumpContext is Dump with a context.
func (c *Criu) DumpContext(ctx context.Context, opts *rpc.CriuOpts, nfy Notify) error {
	_, err := c.request(ctx, rpc.CriuReqType_DUMP, opts, nfy)
	return err
}

// Checkpoint saves the calling process, all its goroutines and threads, and returns twice: false in the process that goes
// on (with opts.LeaveRunning; without it, that process ends), and true in every process restored from the images.
//
// Files that are open, also those of opts, are open in the restored process, too.
func (c *Criu) Checkpoint(ctx context.Context, opts *rpc.CriuOpts) (restored bool, err error) {
	opts = proto.Clone(opts).(*rpc.CriuOpts)
	opts.Pid = proto.Int32(int32(os.Getpid()))
	resp, err := c.request(ctx, rpc.CriuReqType_DUMP, opts, nil)
	return resp.GetDump().GetRestored(), err
}

// Restore brings back the tree in the images directory. With opts.RstSibling its root is a child of this process.
func (c *Criu) Restore(opts *rpc.CriuOpts, nfy Notify) error {
	_, err := c.RestoreContext(context.Background(), opts, nfy)
	return err
}

// RestoreContext is Restore with a context; it returns the pid of the root.
func (c *Criu) RestoreContext(ctx context.Context, opts *rpc.CriuOpts, nfy Notify) (pid int, err error) {
	resp, err := c.request(ctx, rpc.CriuReqType_RESTORE, opts, nfy)
	if err != nil {
		return 0, err
	}
	return int(resp.GetRestore().GetPid()), nil
}

// PreDump saves the memory of the tree and leaves it running; the next dump saves what has changed since.
func (c *Criu) PreDump(opts *rpc.CriuOpts, nfy Notify) error {
	return c.PreDumpContext(context.Background(), opts, nfy)
}

// PreDumpContext is PreDump with a context.
func (c *Criu) PreDumpContext(ctx context.Context, opts *rpc.CriuOpts, nfy Notify) error {
	_, err := c.request(ctx, rpc.CriuReqType_PRE_DUMP, opts, nfy)
	return err
}

// Preflight tells what would make a dump with these options fail. It changes nothing.
func (c *Criu) Preflight(ctx context.Context, opts *rpc.CriuOpts) ([]Blocker, error) {
	resp, err := c.request(ctx, rpc.CriuReqType_PREFLIGHT, opts, nil)
	if e, ok := err.(*Error); ok && e.Code == ErrBlocked {
		return e.Blockers, nil
	}
	if err != nil {
		return nil, err
	}
	var blockers []Blocker
	for _, b := range resp.GetBlockers() {
		blockers = append(blockers, blocker(b))
	}
	return blockers, nil
}

// Check tells whether this kernel has what the engine needs.
func (c *Criu) Check(ctx context.Context) error {
	_, err := c.request(ctx, rpc.CriuReqType_CHECK, &rpc.CriuOpts{ImagesDirFd: proto.Int32(-1)}, nil)
	return err
}

// StartPageServer serves pages on opts.Ps until a client has sent all of them.
func (c *Criu) StartPageServer(opts *rpc.CriuOpts) error {
	_, err := c.request(context.Background(), rpc.CriuReqType_PAGE_SERVER, opts, nil)
	return err
}

// StartPageServerChld starts a page server as a process of its own, and returns its pid and port.
func (c *Criu) StartPageServerChld(opts *rpc.CriuOpts) (pid, port int, err error) {
	resp, err := c.request(context.Background(), rpc.CriuReqType_PAGE_SERVER_CHLD, opts, nil)
	if err != nil {
		return 0, 0, err
	}
	return int(resp.GetPs().GetPid()), int(resp.GetPs().GetPort()), nil
}

// GetCriuVersion returns the engine's version: major * 10000 + minor * 100 + sublevel.
func (c *Criu) GetCriuVersion() (int, error) {
	resp, err := c.request(context.Background(), rpc.CriuReqType_VERSION, nil, nil)
	if err != nil {
		return 0, err
	}
	v := resp.GetVersion()
	if v == nil {
		return 0, failure("VERSION", ErrProtocol, 0, "answer", "it lacks the version")
	}
	return int(v.GetMajorNumber())*10000 + int(v.GetMinorNumber())*100 + int(v.GetSublevel()), nil
}

// IsCriuAtLeast tells whether the engine's version is at least version.
func (c *Criu) IsCriuAtLeast(version int) (bool, error) {
	found, err := c.GetCriuVersion()
	return err == nil && found >= version, err
}

// FeatureCheck tells which of the features that are set in features there are.
func (c *Criu) FeatureCheck(features *rpc.CriuFeatures) (*rpc.CriuFeatures, error) {
	req := &rpc.CriuReq{Type: rpc.CriuReqType_FEATURE_CHECK.Enum(), Features: features}
	resp, err := c.exchange(context.Background(), req, nil)
	if err != nil {
		return nil, err
	}
	return resp.GetFeatures(), nil
}
