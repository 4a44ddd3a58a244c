// Package criu checkpoints and restores trees of Linux processes.
//
// It has the interface of go-criu. The engine is that of libcriu.so.2, reached through cgo; SetCriuPath executes a criu
// command instead (`criu swrk`), and so does a program built without cgo, with the criu that is in PATH.
//
// Methods with a context are this package's own: they end early when the context does, in which case the operation is
// undone (a dumped tree runs on, what was restored so far is removed), and they return what an operation results in. All
// errors of operations are of type *Error.
//
// A Criu may be used by one goroutine at a time; any number of them may be in use.
package criu

import (
	"context"
	"os"

	"google.golang.org/protobuf/proto"

	"github.com/checkpoint-restore/go-criu/v8/rpc"
)

// Criu is the way to an engine.
type Criu struct {
	path      string
	kept      connection
	inherited []inherited
}

type inherited struct {
	key  string
	file *os.File
}

// connection executes requests, one after the other.
type connection interface {
	// exchange returns the answer to a request; one that says no may be an error or an answer.
	exchange(ctx context.Context, req *rpc.CriuReq, calls *calls) (*rpc.CriuResp, error)
	close() error
}

// MakeCriu returns a Criu that uses the library's own engine (without cgo: the criu in PATH).
func MakeCriu() *Criu {
	return &Criu{path: defaultPath}
}

// SetCriuPath makes operations execute the criu command at path; a name without a slash is looked up in PATH. An empty one
// goes back to the library's engine.
func (c *Criu) SetCriuPath(path string) {
	c.path = path
	if path == "" {
		c.path = defaultPath
	}
}

// Prepare starts the engine that the operations up to Cleanup then share, where that is a criu command. The library's
// engine needs no preparation.
func (c *Criu) Prepare() error {
	if c.kept != nil || c.path == "" {
		return nil
	}
	conn, err := c.connect(false)
	if err != nil {
		return err
	}
	c.kept = conn
	return nil
}

// Cleanup ends what Prepare has started.
func (c *Criu) Cleanup() error {
	conn := c.kept
	if conn == nil {
		return nil
	}
	c.kept = nil
	return conn.close()
}

// AddInheritFd registers a file that restored tasks get in place of what key names ("tty[8800001:27]", "pipe:[4711]", a path without
// its leading slash). An operation whose options have no InheritFd uses what was registered.
func (c *Criu) AddInheritFd(key string, file *os.File) {
	c.inherited = append(c.inherited, inherited{key, file})
}

func (c *Criu) connect(apart bool) (connection, error) {
	if c.path == "" {
		return newLibrary()
	}
	files := make([]*os.File, len(c.inherited))
	for i, in := range c.inherited {
		files[i] = in.file
	}
	conn, err := startWorker(c.path, files, apart)
	if err != nil {
		return nil, err
	}
	return conn, nil
}

// request executes one request of a kind.
func (c *Criu) request(ctx context.Context, kind rpc.CriuReqType, opts *rpc.CriuOpts, nfy Notify) (*rpc.CriuResp, error) {
	req := &rpc.CriuReq{Type: kind.Enum()}
	if opts != nil {
		req.Opts = proto.Clone(opts).(*rpc.CriuOpts)
	}
	return c.exchange(ctx, req, nfy)
}

func (c *Criu) exchange(ctx context.Context, req *rpc.CriuReq, nfy Notify) (*rpc.CriuResp, error) {
	op := req.GetType().String()
	if err := ctx.Err(); err != nil {
		return nil, stopped(op, err)
	}
	calls := &calls{to: nfy}
	c.complete(ctx, req, calls)
	conn := c.kept
	if conn == nil {
		fresh, err := c.connect(req.GetType() == rpc.CriuReqType_DUMP)
		if err != nil {
			return nil, named(op, err)
		}
		conn = fresh
	} else {
		req.KeepOpen = proto.Bool(true)
	}
	resp, err := conn.exchange(ctx, req, calls)
	if c.kept == nil {
		// The answer counts; an engine that ends badly after it has nothing more to say.
		_ = conn.close()
	}
	if calls.panicked != nil {
		panic(calls.panicked)
	}
	if err != nil {
		return nil, calls.explain(ctx, named(op, err))
	}
	if !resp.GetSuccess() {
		return resp, calls.explain(ctx, refusal(op, resp))
	}
	return resp, nil
}

// complete adds to a request what the caller has not said in its options.
func (c *Criu) complete(ctx context.Context, req *rpc.CriuReq, calls *calls) {
	opts := req.Opts
	if opts == nil {
		return
	}
	if calls.to != nil {
		opts.NotifyScripts = proto.Bool(true)
	}
	opts.Extended = proto.Bool(true)
	progress, level := calls.wants()
	if progress {
		opts.Progress = proto.Bool(true)
	}
	if level >= 0 {
		opts.LogMessages = proto.Int32(int32(level))
	}
	if ms, ok := remaining(ctx); ok {
		opts.DeadlineMs = proto.Uint64(ms)
	}
	if len(opts.InheritFd) == 0 {
		for i, in := range c.inherited {
			opts.InheritFd = append(opts.InheritFd, &rpc.InheritFd{Key: proto.String(in.key), Fd: proto.Int32(c.inheritedNumber(i))})
		}
	}
}

// inheritedNumber is the number under which the engine finds the i-th inherited file.
func (c *Criu) inheritedNumber(i int) int32 {
	if c.path == "" {
		return int32(c.inherited[i].file.Fd())
	}
	return int32(firstInherited + i)
}

// explain adds the context's and the callbacks' errors.
func (c *calls) explain(ctx context.Context, e *Error) *Error {
	if c.failed != nil && e.Code != ErrCancelled && e.Code != ErrDeadline {
		e.Code = ErrCallback
		e.Message += ": " + c.failed.Error()
		e.causes = append(e.causes, c.failed)
	}
	switch {
	case e.Code == ErrDeadline:
		e.causes = append(e.causes, context.DeadlineExceeded)
	case e.Code == ErrCancelled && ctx.Err() != nil:
		e.causes = append(e.causes, ctx.Err())
	}
	return e
}

// named is err as an Error of the operation.
func named(op string, err error) *Error {
	e, ok := err.(*Error)
	if !ok {
		e = failure(op, ErrTransport, 0, "the connection to the engine", err.Error())
		e.causes = []error{err}
	}
	e.Op = op
	return e
}

// stopped is the error of an operation that a context ended before it began.
func stopped(op string, err error) *Error {
	code := ErrCancelled
	if err == context.DeadlineExceeded {
		code = ErrDeadline
	}
	e := failure(op, code, 0, "the operation", err.Error())
	e.causes = []error{err}
	return e
}
