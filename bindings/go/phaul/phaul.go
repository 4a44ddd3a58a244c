// Package phaul migrates a running tree of processes: its memory is sent while it runs, again and again what it has changed
// meanwhile, until that is little; then it is frozen, the rest is sent, and it is restored on the other side.
//
// A Client drives a Server through two interfaces, Remote and Local, which a program may write itself. Link has both over
// one connection, with Serve at its other end.
//
// Where the engine cannot track memory (FeatureCheck says so), nothing is sent beforehand: the tree is frozen for as long
// as all of it takes. The iterations are written against the interfaces of pre-dump and page server.
package phaul

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"google.golang.org/protobuf/proto"

	criu "github.com/checkpoint-restore/go-criu/v8"
	"github.com/checkpoint-restore/go-criu/v8/rpc"
	"github.com/checkpoint-restore/go-criu/v8/stats"
)

// Config is what a side of a migration needs: the Pid of the tree's root (Client), a connected descriptor Memfd that the
// engines send pages over, and a directory Wdir for images.
type Config struct {
	Pid   int32
	Memfd int
	Wdir  string
}

// Remote is the Server, as its Client calls it.
type Remote interface {
	// StartIter makes the server ready for the pages of an iteration.
	StartIter() error
	// StopIter is called when all of them were sent.
	StopIter() error
}

// Local does the last step, on the Client's side.
type Local interface {
	// DumpCopyRestore dumps the tree, copies the images and has them restored on the other side, all that within the dump, so that
	// the tree is frozen meanwhile: nil ends it here, an error makes it go on here. The dump's options have to have c.Memfd
	// in Ps, lastClientImagesPath in ParentImg, and TrackMem, unless lastClientImagesPath is empty: then there was no
	// iteration, and the dump holds everything.
	DumpCopyRestore(criu *criu.Criu, c Config, lastClientImagesPath string) error
}

// engine is the part of a Criu that iterations need.
type engine interface {
	FeatureCheck(features *rpc.CriuFeatures) (*rpc.CriuFeatures, error)
	PreDumpContext(ctx context.Context, opts *rpc.CriuOpts, nfy criu.Notify) error
}

// Client is the side that a tree leaves.
type Client struct {
	local  Local
	remote Remote
	cfg    Config
	criu   *criu.Criu
	engine engine
}

// MakePhaulClient makes the side that a tree leaves; Migrate then does it.
func MakePhaulClient(l Local, r Remote, c Config) (*Client, error) {
	if l == nil || r == nil || c.Pid <= 0 {
		return nil, fmt.Errorf("phaul: a client needs a Local, a Remote and a pid, not %d", c.Pid)
	}
	wdir, err := workDir(c.Wdir)
	if err != nil {
		return nil, err
	}
	c.Wdir = wdir
	cr := criu.MakeCriu()
	return &Client{local: l, remote: r, cfg: c, criu: cr, engine: cr}, nil
}

func workDir(name string) (string, error) {
	if name == "" {
		return "", fmt.Errorf("phaul: Wdir names no directory")
	}
	if err := os.MkdirAll(name, 0o700); err != nil {
		return "", err
	}
	return filepath.Abs(name)
}

// GetCriu returns the way to the client's engine.
func (pc *Client) GetCriu() *criu.Criu { return pc.criu }

// Migrate moves the tree. With an error it runs on here.
func (pc *Client) Migrate() error { return pc.MigrateContext(context.Background()) }

// MigrateContext is Migrate; the end of the context ends the iterations with an error.
func (pc *Client) MigrateContext(ctx context.Context) (retErr error) {
	if err := pc.criu.Prepare(); err != nil {
		return err
	}
	defer func() {
		if err := pc.criu.Cleanup(); retErr == nil {
			retErr = err
		}
	}()
	last, err := pc.iterate(ctx)
	if err != nil {
		return err
	}
	return pc.local.DumpCopyRestore(pc.criu, pc.cfg, last)
}

const (
	// More iterations than this have never paid.
	maxIterations = 8
	// So few pages are sent in no time.
	fewPages = 64
)

// goesOn tells whether another iteration pays, from the pages that each has sent: not when they are few, and not when they
// have not become a tenth fewer since the one before.
func goesOn(sent []uint64) bool {
	n := len(sent)
	switch {
	case n == 0:
		return true
	case n >= maxIterations || sent[n-1] <= fewPages:
		return false
	case n == 1:
		return true
	}
	return sent[n-1] < sent[n-2]-sent[n-2]/10
}

// iterate sends memory while the tree runs, and returns the directory of the last images; empty if nothing was sent.
func (pc *Client) iterate(ctx context.Context) (last string, err error) {
	features, err := pc.engine.FeatureCheck(&rpc.CriuFeatures{MemTrack: proto.Bool(true)})
	if err != nil || !features.GetMemTrack() {
		return "", err
	}
	for sent := []uint64(nil); goesOn(sent); {
		dir, err := numbered(pc.cfg.Wdir, len(sent)+1)
		if err != nil {
			return "", err
		}
		pages, err := pc.iteration(ctx, dir, last)
		_ = dir.Close()
		if err != nil {
			return "", err
		}
		sent, last = append(sent, pages), dir.Name()
	}
	return last, nil
}

func (pc *Client) iteration(ctx context.Context, dir *os.File, last string) (pages uint64, err error) {
	if err := pc.remote.StartIter(); err != nil {
		return 0, err
	}
	opts := &rpc.CriuOpts{
		Pid:         proto.Int32(pc.cfg.Pid),
		ImagesDirFd: proto.Int32(int32(dir.Fd())),
		LogFile:     proto.String("pre-dump.log"),
		TrackMem:    proto.Bool(true),
		Ps:          &rpc.CriuPageServerInfo{Fd: proto.Int32(int32(pc.cfg.Memfd))},
	}
	if last != "" {
		opts.ParentImg = proto.String(last)
	}
	if err := pc.engine.PreDumpContext(ctx, opts, nil); err != nil {
		return 0, err
	}
	if err := pc.remote.StopIter(); err != nil {
		return 0, err
	}
	s, err := stats.CriuGetDumpStats(dir)
	return s.GetPagesWritten(), err
}

// numbered makes a directory of images and opens it.
func numbered(base string, n int) (*os.File, error) {
	name := filepath.Join(base, fmt.Sprint(n))
	if err := os.Mkdir(name, 0o700); err != nil {
		return nil, err
	}
	return os.Open(name)
}

// Server is the side that a tree comes to. A Client calls its StartIter and StopIter.
type Server struct {
	cfg        Config
	criu       *criu.Criu
	iterations int
	last       string
	pageServer int
}

// MakePhaulServer makes the side that a tree comes to.
func MakePhaulServer(c Config) (*Server, error) {
	wdir, err := workDir(c.Wdir)
	if err != nil {
		return nil, err
	}
	c.Wdir = wdir
	return &Server{cfg: c, criu: criu.MakeCriu()}, nil
}

// GetCriu returns the way to the server's engine.
func (s *Server) GetCriu() *criu.Criu { return s.criu }

// LastImagesDir returns the directory that the last images went to.
func (s *Server) LastImagesDir() string { return s.last }

// nextDir makes the directory of the next images.
func (s *Server) nextDir() (*os.File, error) {
	dir, err := numbered(s.cfg.Wdir, s.iterations+1)
	if err == nil {
		s.iterations++
		s.last = dir.Name()
	}
	return dir, err
}

// StartIter starts a page server for an iteration.
func (s *Server) StartIter() error {
	previous := s.last
	dir, err := s.nextDir()
	if err != nil {
		return err
	}
	defer dir.Close() //nolint:errcheck // a directory
	opts := &rpc.CriuOpts{
		ImagesDirFd: proto.Int32(int32(dir.Fd())),
		LogFile:     proto.String("page-server.log"),
		Ps:          &rpc.CriuPageServerInfo{Fd: proto.Int32(int32(s.cfg.Memfd))},
	}
	if previous != "" {
		opts.ParentImg = proto.String(previous)
	}
	s.pageServer, _, err = s.criu.StartPageServerChld(opts)
	return err
}

// How long a page server may take to end once everything was sent.
const patience = time.Minute

// StopIter waits until the page server has everything.
func (s *Server) StopIter() error {
	pid := s.pageServer
	s.pageServer = 0
	if pid <= 0 {
		return fmt.Errorf("phaul: no iteration was started")
	}
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(2 * time.Millisecond) {
		// It is ours to collect if orphans come to this process.
		var status syscall.WaitStatus
		if got, err := syscall.Wait4(pid, &status, syscall.WNOHANG, nil); got == pid && status != 0 {
			return fmt.Errorf("phaul: the page server ended with %#x, %v", status, err)
		}
		if syscall.Kill(pid, 0) == syscall.ESRCH {
			return nil
		}
	}
	return fmt.Errorf("phaul: the page server %d does not end", pid)
}
