//go:build cgo

package criu

// #cgo pkg-config: criu
// #include <stdlib.h>
// #include <criu.h>
// #include <criu-ext.h>
// #include "library.h"
import "C"

import (
	"context"
	"runtime/cgo"
	"syscall"
	"time"
	"unsafe"

	"google.golang.org/protobuf/proto"

	"github.com/checkpoint-restore/go-criu/v8/rpc"
)

// defaultPath is empty: the library has the engine in itself.
const defaultPath = ""

// library reaches the engine of libcriu.so.2, which starts a worker for each request.
type library struct {
	opts *C.struct_criu_opts
}

func newLibrary() (connection, error) {
	l := &library{}
	if r := C.criu_local_init_opts(&l.opts); r != 0 {
		return nil, failure("", ErrNoMemory, syscall.Errno(-r), "options", syscall.Errno(-r).Error())
	}
	return l, nil
}

func (l *library) close() error {
	C.criu_local_free_opts(l.opts)
	l.opts = nil
	return nil
}

func (l *library) exchange(ctx context.Context, req *rpc.CriuReq, calls *calls) (*rpc.CriuResp, error) {
	op := req.GetType().String()
	bytes, err := proto.Marshal(req)
	if err != nil {
		return nil, failure(op, ErrArgument, syscall.EINVAL, "request", err.Error())
	}
	handle := cgo.NewHandle(calls)
	defer handle.Delete()
	progress, level := calls.wants()
	C.criu_go_callbacks(l.opts, C.uintptr_t(handle), C.bool(calls.to != nil), C.bool(progress), C.int(level))
	if ms, ok := remaining(ctx); ok {
		C.criu_local_set_deadline(l.opts, C.uint64_t(ms))
	}
	finish := whenStopped(ctx, l.cancel)
	var answer *C.uint8_t
	var size C.size_t
	r := C.criu_local_request(l.opts, (*C.uint8_t)(unsafe.SliceData(bytes)), C.size_t(len(bytes)), &answer, &size)
	finish()
	if r != 0 {
		return nil, l.lastError(op, syscall.Errno(-r))
	}
	defer C.free(unsafe.Pointer(answer))
	resp := new(rpc.CriuResp)
	if err := proto.Unmarshal(unsafe.Slice((*byte)(answer), size), resp); err != nil {
		return nil, failure(op, ErrProtocol, syscall.EBADMSG, "answer", err.Error())
	}
	return resp, nil
}

// cancel tells the operation to stop; one that has not quite begun is told as soon as it has.
func (l *library) cancel(finished <-chan struct{}) {
	for C.criu_local_cancel(l.opts) != 0 {
		select {
		case <-finished:
			return
		case <-time.After(2 * time.Millisecond):
		}
	}
}

// lastError is how the operation failed, as the library knows it.
func (l *library) lastError(op string, errno syscall.Errno) *Error {
	last := C.criu_local_last_error(l.opts)
	if last == nil {
		return failure(op, ErrInternal, errno, "libcriu", errno.Error())
	}
	e := &Error{
		Op: op, Code: Code(last.code), Pid: int(last.pid), Phase: C.GoString(last.phase), Object: C.GoString(last.object),
		Cause: C.GoString(last.cause), Hint: C.GoString(last.hint), Errno: syscall.Errno(last.error_number),
		Message: C.GoString(last.message),
	}
	for i := C.size_t(0); i < C.criu_local_blocker_count(l.opts); i++ {
		if b := C.criu_local_blocker(l.opts, i); b != nil {
			e.Blockers = append(e.Blockers, Blocker{
				Pid: int(b.pid), Phase: C.GoString(b.phase), Object: C.GoString(b.object), Cause: C.GoString(b.cause),
				Hint: C.GoString(b.hint), Errno: syscall.Errno(b.error_number),
			})
		}
	}
	return e
}

//export criuGoStage
func criuGoStage(handle C.uintptr_t, stage *C.char, pid, fd C.int) C.int {
	if fd >= 0 {
		// The library closes its own after the call.
		own, err := syscall.Dup(int(fd))
		if err != nil {
			return -1
		}
		syscall.CloseOnExec(own)
		fd = C.int(own)
	}
	if !cgo.Handle(handle).Value().(*calls).stage(C.GoString(stage), int32(pid), int(fd)) {
		return -1
	}
	return 0
}

//export criuGoProgress
func criuGoProgress(handle C.uintptr_t, phase *C.char, done, total C.uint64_t) {
	cgo.Handle(handle).Value().(*calls).progress(C.GoString(phase), uint64(done), uint64(total))
}

//export criuGoLog
func criuGoLog(handle C.uintptr_t, level C.int, line *C.char) {
	cgo.Handle(handle).Value().(*calls).log(int(level), C.GoString(line))
}
