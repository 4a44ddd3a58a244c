package criu

import (
	"context"
	"time"
)

// How long an engine may take to put everything back once it was told to stop, before it is cut off.
const grace = 10 * time.Second

// The engine knows the deadline, too; its answer says more than this side's would.
const afterDeadline = 300 * time.Millisecond

// remaining is what a context's deadline leaves, in milliseconds.
func remaining(ctx context.Context) (uint64, bool) {
	deadline, ok := ctx.Deadline()
	if !ok {
		return 0, false
	}
	return uint64(max(time.Until(deadline).Milliseconds(), 1)), true
}

// whenStopped calls stop once the context has ended (some time later, if that was its deadline, which the engine knows,
// too), unless the function that it returns was called before. That one waits until stop is not running.
func whenStopped(ctx context.Context, stop func(finished <-chan struct{})) (finish func()) {
	if ctx.Done() == nil {
		return func() {}
	}
	finished, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		select {
		case <-finished:
			return
		case <-ctx.Done():
		}
		if ctx.Err() == context.DeadlineExceeded {
			select {
			case <-finished:
				return
			case <-time.After(afterDeadline):
			}
		}
		stop(finished)
	}()
	return func() {
		close(finished)
		<-ended
	}
}
