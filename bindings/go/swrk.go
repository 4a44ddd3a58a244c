package criu

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"syscall"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/checkpoint-restore/go-criu/v8/rpc"
)

// A worker finds its connection here, and inherited files at the numbers behind it.
const (
	workerConnection = 3
	firstInherited   = workerConnection + 1
)

// Longer answers are not believed.
const maxAnswerBytes = 16 << 20

// How long a worker may take to end once its connection is closed.
const patience = 5 * time.Second

// worker is a process that executes requests: `criu swrk 3`.
type worker struct {
	path string
	conn *net.UnixConn
	pid  int
	// Serializes what is sent: requests and answers to notifications, and CANCEL from another goroutine.
	sending   sync.Mutex
	cancelled bool
}

// startWorker executes path. The process is started without a pidfd and has no goroutine that waits for it: nothing of it
// but the connection is left in a process that checkpoints itself.
//
// One that stands apart has a session of its own: until it is collected it would keep the number of ours taken. A restore may
// need our session and its terminal.
func startWorker(path string, files []*os.File, apart bool) (*worker, error) {
	object := "program " + path
	program, err := exec.LookPath(path)
	if err != nil {
		e := failure("", ErrConnect, syscall.ENOENT, object, err.Error())
		e.Hint = "install it, or name it by SetCriuPath"
		e.Message += "; " + e.Hint
		return nil, e
	}
	pair, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_SEQPACKET|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, sysFailure(ErrConnect, "the connection to the engine", "socketpair", err)
	}
	ours, theirs := os.NewFile(uintptr(pair[0]), "criu"), os.NewFile(uintptr(pair[1]), "criu worker")
	defer ours.Close()   //nolint:errcheck // FileConn has its own
	defer theirs.Close() //nolint:errcheck // nothing is in it
	conn, err := net.FileConn(ours)
	if err != nil {
		return nil, sysFailure(ErrConnect, "the connection to the engine", "FileConn", err)
	}
	table := []uintptr{0, 1, 2, theirs.Fd()}
	for _, f := range files {
		table = append(table, f.Fd())
	}
	attributes := &syscall.ProcAttr{Files: table, Env: os.Environ(), Sys: &syscall.SysProcAttr{Setsid: apart}}
	pid, err := syscall.ForkExec(program, []string{program, "swrk", strconv.Itoa(workerConnection)}, attributes)
	if err != nil {
		_ = conn.Close()
		return nil, sysFailure(ErrConnect, object, "execute", err)
	}
	return &worker{path: path, conn: conn.(*net.UnixConn), pid: pid}, nil
}

func sysFailure(code Code, object, call string, err error) *Error {
	var errno syscall.Errno
	errors.As(err, &errno)
	return failure("", code, errno, object, fmt.Sprintf("%s: %v", call, err))
}

// close ends the connection, and with it the worker, which is then collected.
func (w *worker) close() error {
	_ = w.conn.Close()
	ended := time.Now().Add(patience)
	for pause := 50 * time.Microsecond; ; pause = min(2*pause, 10*time.Millisecond) {
		var status syscall.WaitStatus
		pid, err := syscall.Wait4(w.pid, &status, syscall.WNOHANG, nil)
		switch {
		case err == syscall.EINTR:
		case err == syscall.ECHILD:
			// Somebody else has collected it, or this is a restored process, whose child it never was.
			return nil
		case err != nil:
			return sysFailure(ErrTransport, "program "+w.path, "wait", err)
		case pid == w.pid:
			return nil
		}
		if time.Now().After(ended) {
			_ = syscall.Kill(w.pid, syscall.SIGKILL)
		}
		time.Sleep(pause)
	}
}

func (w *worker) exchange(ctx context.Context, req *rpc.CriuReq, calls *calls) (*rpc.CriuResp, error) {
	w.sending.Lock()
	w.cancelled = false
	w.sending.Unlock()
	if err := w.send(req); err != nil {
		return nil, err
	}
	finish := whenStopped(ctx, w.cancel)
	defer finish()
	for {
		resp, fd, err := w.receive()
		if err != nil {
			return nil, w.broken(ctx, err)
		}
		switch resp.GetType() {
		case rpc.CriuReqType_NOTIFY:
			ok := calls.stage(resp.GetNotify().GetScript(), resp.GetNotify().GetPid(), fd)
			answer := &rpc.CriuReq{Type: rpc.CriuReqType_NOTIFY.Enum(), NotifySuccess: proto.Bool(ok)}
			if err := w.acknowledge(answer); err != nil {
				return nil, err
			}
			continue
		case rpc.CriuReqType_PROGRESS:
			p := resp.GetProgress()
			calls.progress(p.GetPhase(), p.GetDone(), p.GetTotal())
			continue
		case rpc.CriuReqType_LOG:
			calls.log(int(resp.GetLog().GetLevel()), resp.GetLog().GetText())
			continue
		}
		return resp, answers(req.GetType(), resp)
	}
}

// answers tells whether a response is one to a request of this type. A page server that was started in the background answers as one
// in the foreground.
func answers(kind rpc.CriuReqType, resp *rpc.CriuResp) error {
	got := resp.GetType()
	switch {
	case got == kind, kind == rpc.CriuReqType_PAGE_SERVER_CHLD && got == rpc.CriuReqType_PAGE_SERVER:
		return nil
	case got == rpc.CriuReqType_EMPTY:
		cause := resp.GetCrErrmsg()
		if cause == "" {
			cause = "the engine does not know this request"
		}
		return failure("", ErrUnsupported, syscall.EINVAL, "request", cause)
	}
	return failure("", ErrProtocol, syscall.EBADMSG, "answer", fmt.Sprintf("one of type %v to a request of type %v", got, kind))
}

func (w *worker) send(req *rpc.CriuReq) error {
	bytes, err := proto.Marshal(req)
	if err != nil {
		return failure("", ErrArgument, syscall.EINVAL, "request", err.Error())
	}
	w.sending.Lock()
	defer w.sending.Unlock()
	if _, err := w.conn.Write(bytes); err != nil {
		return sysFailure(ErrTransport, "the connection to the engine", "send", err)
	}
	return nil
}

// acknowledge answers a notification; after CANCEL nothing else is sent.
func (w *worker) acknowledge(req *rpc.CriuReq) error {
	w.sending.Lock()
	cancelled := w.cancelled
	w.sending.Unlock()
	if cancelled {
		return nil
	}
	return w.send(req)
}

// cancel tells the engine to stop, and cuts it off when it does not.
func (w *worker) cancel(finished <-chan struct{}) {
	bytes, err := proto.Marshal(&rpc.CriuReq{Type: rpc.CriuReqType_CANCEL.Enum()})
	w.sending.Lock()
	w.cancelled = true
	if err == nil {
		_, _ = w.conn.Write(bytes)
	}
	w.sending.Unlock()
	select {
	case <-finished:
	case <-time.After(grace):
		// The connection is still open, so the worker has not been collected and the pid is its own.
		_ = syscall.Kill(w.pid, syscall.SIGKILL)
		_ = w.conn.SetReadDeadline(time.Unix(1, 0))
	}
}

// broken says why there is no answer.
func (w *worker) broken(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return stopped("", ctx.Err())
	}
	e := sysFailure(ErrTransport, "the engine", "no answer", err)
	e.Hint = "its log may say why"
	e.Message += "; " + e.Hint
	return e
}

// receive returns the next message, and the descriptor that came along, or -1.
func (w *worker) receive() (*rpc.CriuResp, int, error) {
	size, err := w.sizeOfNext()
	if err != nil {
		return nil, -1, err
	}
	if size == 0 {
		return nil, -1, syscall.ECONNRESET
	}
	if size > maxAnswerBytes {
		return nil, -1, failure("", ErrProtocol, syscall.EBADMSG, "answer", fmt.Sprintf("%d bytes are not believed", size))
	}
	packet, control := make([]byte, size), make([]byte, syscall.CmsgSpace(4*4))
	n, nc, _, _, err := w.conn.ReadMsgUnix(packet, control)
	if err != nil {
		return nil, -1, err
	}
	fd := firstDescriptor(control[:nc])
	resp := new(rpc.CriuResp)
	if err := proto.Unmarshal(packet[:n], resp); err != nil {
		if fd >= 0 {
			_ = syscall.Close(fd)
		}
		return nil, -1, failure("", ErrProtocol, syscall.EBADMSG, "answer", err.Error())
	}
	if resp.GetType() != rpc.CriuReqType_NOTIFY && fd >= 0 {
		_ = syscall.Close(fd)
		fd = -1
	}
	return resp, fd, nil
}

// sizeOfNext waits for a message and returns its size, 0 when the worker is gone.
func (w *worker) sizeOfNext() (size int, err error) {
	raw, err := w.conn.SyscallConn()
	if err != nil {
		return 0, err
	}
	var failed error
	err = raw.Read(func(fd uintptr) bool {
		for {
			size, _, failed = syscall.Recvfrom(int(fd), nil, syscall.MSG_PEEK|syscall.MSG_TRUNC|syscall.MSG_DONTWAIT)
			if failed != syscall.EINTR {
				return failed != syscall.EAGAIN
			}
		}
	})
	return size, errors.Join(err, failed)
}

// firstDescriptor is the one that was passed; any others are closed.
func firstDescriptor(control []byte) int {
	first := -1
	messages, err := syscall.ParseSocketControlMessage(control)
	if err != nil {
		return first
	}
	for i := range messages {
		fds, err := syscall.ParseUnixRights(&messages[i])
		if err != nil {
			continue
		}
		for _, fd := range fds {
			if first < 0 {
				first = fd
				syscall.CloseOnExec(fd)
			} else {
				_ = syscall.Close(fd)
			}
		}
	}
	return first
}
