package criu

import (
	"fmt"
	"strings"
	"syscall"

	"github.com/checkpoint-restore/go-criu/v8/rpc"
)

// Code says what kind of failure an Error is. Its numbers are those of enum criu_error_code in criu-ext.h.
type Code int

// The kinds of failure.
const (
	ErrEngine      Code = 1  // the engine tried and failed
	ErrBlocked     Code = 2  // state that cannot be saved or restored; see Blockers
	ErrOptions     Code = 3  // options that are wrong or contradict each other
	ErrNoProcess   Code = 4  // there is no such process
	ErrPidTaken    Code = 5  // a pid to be restored is taken
	ErrCancelled   Code = 6  // cancelled, by the context
	ErrDeadline    Code = 7  // not done before the deadline of the context
	ErrConnect     Code = 8  // no engine could be started
	ErrTransport   Code = 9  // the connection broke: the engine died
	ErrUnsupported Code = 10 // the engine does not know this request
	ErrProtocol    Code = 11 // the engine answered something else
	ErrCallback    Code = 12 // a callback returned an error, which Unwrap gives
	ErrArgument    Code = 13 // an argument that the library itself refuses
	ErrNoMemory    Code = 14
	ErrInternal    Code = 15 // a defect of the library
)

var codeNames = [...]string{"no error", "engine", "blocked", "options", "no process", "pid taken", "cancelled", "deadline",
	"connect", "transport", "unsupported", "protocol", "callback", "argument", "no memory", "internal"}

func (c Code) String() string {
	if c >= 0 && int(c) < len(codeNames) {
		return codeNames[c]
	}
	return fmt.Sprintf("code %d", int(c))
}

// Error tells why an operation failed. Get it from an error by errors.As. errors.Is finds in it the errno (a
// syscall.Errno), the error of a cancelled or expired context, and the error that a callback returned.
type Error struct {
	Op       string // "DUMP", "RESTORE", ...: a request of rpc.proto
	Code     Code
	Pid      int    // the task concerned, 0 when it is about no single task
	Phase    string // "freeze", "collect", "load", ...; "client" when the engine was not reached
	Object   string // "fd 7 (unix socket ino 91822)"
	Cause    string
	Hint     string // the option or step that would help
	Errno    syscall.Errno
	Message  string    // all of it in one line
	Blockers []Blocker // everything that stands in the way

	causes []error
}

// Blocker is one thing that stands in the way of an operation.
type Blocker struct {
	Pid    int
	Phase  string
	Object string
	Cause  string
	Hint   string
	Errno  syscall.Errno
}

func (e *Error) Error() string {
	text := "criu " + strings.ToLower(e.Op) + ": " + e.Message
	for _, b := range e.Blockers {
		if line := b.String(); !strings.Contains(text, line) {
			text += "\n  " + line
		}
	}
	return text
}

// Unwrap gives the errno and the errors behind this one.
func (e *Error) Unwrap() []error {
	if e.Errno == 0 {
		return e.causes
	}
	return append([]error{e.Errno}, e.causes...)
}

func (b Blocker) String() string {
	text := b.Object + ": " + b.Cause
	if b.Pid != 0 {
		text = fmt.Sprintf("pid %d %s", b.Pid, text)
	}
	if b.Hint != "" {
		text += "; " + b.Hint
	}
	return text
}

// failure is an error of this side of the connection.
func failure(op string, code Code, errno syscall.Errno, object, cause string) *Error {
	return &Error{Op: op, Code: code, Phase: "client", Object: object, Cause: cause, Errno: errno, Message: object + ": " + cause}
}

// refusal is the error in an answer that says no.
func refusal(op string, resp *rpc.CriuResp) *Error {
	e := &Error{Op: op, Errno: syscall.Errno(max(resp.GetCrErrno(), 0)), Message: resp.GetCrErrmsg()}
	for _, b := range resp.GetBlockers() {
		e.Blockers = append(e.Blockers, blocker(b))
	}
	if d := resp.GetError(); d != nil {
		b := blocker(d)
		e.Pid, e.Phase, e.Object, e.Cause, e.Hint = b.Pid, b.Phase, b.Object, b.Cause, b.Hint
		if e.Errno == 0 {
			e.Errno = b.Errno
		}
		if e.Message == "" {
			e.Message = b.String()
		}
	}
	if e.Message == "" {
		e.Message = "the engine reported a failure without a reason; its log has more"
	}
	if e.Cause == "" {
		e.Cause = e.Message
	}
	e.Code = codeOf(syscall.Errno(max(resp.GetCrErrno(), 0)), len(e.Blockers) > 0)
	return e
}

func codeOf(errno syscall.Errno, blocked bool) Code {
	switch errno {
	case syscall.ESRCH:
		return ErrNoProcess
	case syscall.EEXIST:
		return ErrPidTaken
	case syscall.EBADRQC:
		return ErrOptions
	case syscall.ECANCELED:
		return ErrCancelled
	case syscall.ETIMEDOUT, syscall.ETIME:
		return ErrDeadline
	}
	if blocked {
		return ErrBlocked
	}
	return ErrEngine
}

func blocker(e *rpc.CriuError) Blocker {
	return Blocker{
		Pid: int(e.GetPid()), Phase: e.GetPhase(), Object: e.GetObject(), Cause: e.GetCause(), Hint: e.GetHint(),
		Errno: syscall.Errno(max(e.GetCrErrno(), 0)),
	}
}
