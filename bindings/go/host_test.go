package criu_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	criu "github.com/checkpoint-restore/go-criu/v8"
	"github.com/checkpoint-restore/go-criu/v8/rpc"
)

// signals are what /proc tells of this process's signals: blocked, ignored, caught.
func signals(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, line := range strings.Split(string(text), "\n") {
		if strings.HasPrefix(line, "Sig") && !strings.HasPrefix(line, "SigQ") && !strings.HasPrefix(line, "SigPnd") {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, "\n")
}

func descriptors(t *testing.T) map[string]string {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	open := map[string]string{}
	for _, e := range entries {
		if target, err := os.Readlink("/proc/self/fd/" + e.Name()); err == nil {
			open[e.Name()] = target
		}
	}
	return open
}

// A host, such as the first process of a container, is after operations as it was before: its signals, its children, its files.
func TestHostIsLeftAlone(t *testing.T) {
	each(t, func(t *testing.T, c *criu.Criu) {
		v := startVictim(t)
		opts, _ := options(t)
		opts.Pid, opts.LeaveRunning = proto.Int32(int32(v.pid)), proto.Bool(true)
		// Whatever the runtime makes at a first use is there then.
		if _, err := c.GetCriuVersion(); err != nil {
			t.Fatal(err)
		}
		before, open := signals(t), descriptors(t)
		if err := c.Dump(opts, &stages{}); err != nil {
			t.Fatal(err)
		}
		if after := signals(t); after != before {
			t.Errorf("signals were\n%s\nand are\n%s", before, after)
		}
		for fd, target := range descriptors(t) {
			if open[fd] == "" && !strings.HasPrefix(target, "/proc/") {
				t.Errorf("descriptor %s is left: %s", fd, target)
			}
		}
		var status syscall.WaitStatus
		eventually(t, "no worker is left", func() bool {
			// The victim is our child, too, and lives; a worker that is kept has its connection.
			pid, err := syscall.Wait4(-1, &status, syscall.WNOHANG, nil)
			return pid == 0 || err == syscall.ECHILD
		})
	})
}

// Operations of several goroutines do not disturb each other, nor those of their cancelled neighbours.
func TestManyAtOnce(t *testing.T) {
	victims := make([]*victim, 3)
	for i := range victims {
		victims[i] = startVictim(t)
	}
	var all sync.WaitGroup
	failures := make(chan error, 3*len(victims))
	for i, v := range victims {
		opts, _ := options(t)
		opts.Pid, opts.LeaveRunning = proto.Int32(int32(v.pid)), proto.Bool(true)
		all.Add(1)
		go func() {
			defer all.Done()
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			var nfy criu.Notify = &stages{}
			if i == 0 {
				nfy = cancelling{cancel: cancel}
			}
			err := criu.MakeCriu().DumpContext(ctx, opts, nfy)
			if (i == 0) != errors.Is(err, context.Canceled) || i > 0 && err != nil {
				failures <- fmt.Errorf("dump %d: %w", i, err)
			}
		}()
		all.Add(1)
		go func() {
			defer all.Done()
			if _, err := criu.MakeCriu().FeatureCheck(&rpc.CriuFeatures{MemTrack: proto.Bool(true)}); err != nil {
				failures <- err
			}
		}()
	}
	all.Wait()
	close(failures)
	for err := range failures {
		t.Error(err)
	}
	for _, v := range victims {
		v.goesOn(t)
		v.consistent(t)
	}
}

// A restore that is cancelled leaves nothing, and can be made again.
func TestCancelledRestore(t *testing.T) {
	each(t, func(t *testing.T, c *criu.Criu) {
		v := startVictim(t)
		opts, _ := options(t)
		opts.Pid = proto.Int32(int32(v.pid))
		if err := c.Dump(opts, nil); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the victim is gone", v.gone)
		opts.Pid = nil
		ctx, cancel := context.WithCancel(context.Background())
		_, err := c.RestoreContext(ctx, opts, restoreCanceller{cancel: cancel})
		if !errors.Is(err, context.Canceled) {
			t.Fatalf("%#v", err)
		}
		eventually(t, "nothing is left", v.gone)
		if err := c.Restore(opts, nil); err != nil {
			t.Fatal(err)
		}
		v.goesOn(t)
		v.consistent(t)
	})
}

type restoreCanceller struct {
	criu.NoNotify
	cancel func()
}

func (c restoreCanceller) PostRestore(int32) error {
	c.cancel()
	// The engine is told by another goroutine; until then this stage is not over.
	time.Sleep(700 * time.Millisecond)
	return nil
}
