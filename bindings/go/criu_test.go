package criu_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	criu "github.com/checkpoint-restore/go-criu/v8"
	"github.com/checkpoint-restore/go-criu/v8/rpc"
	"github.com/checkpoint-restore/go-criu/v8/stats"
)

// TestMain makes this process the parent of orphans: a victim's pid is free as soon as it is gone.
func TestMain(m *testing.M) {
	const prSetChildSubreaper = 36
	if _, _, errno := syscall.RawSyscall(syscall.SYS_PRCTL, prSetChildSubreaper, 1, 0); errno != 0 {
		panic(errno)
	}
	os.Exit(m.Run())
}

// Every wait has this limit.
const limit = 60 * time.Second

// eventually waits until done is true.
func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	for end := time.Now().Add(limit); !done(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s: not within %v", what, limit)
		}
	}
}

// each runs a test with every transport that there is.
func each(t *testing.T, test func(t *testing.T, c *criu.Criu)) {
	t.Run("library", func(t *testing.T) { test(t, criu.MakeCriu()) })
	command := os.Getenv("CRIU_COMMAND")
	t.Run("swrk", func(t *testing.T) {
		if command == "" {
			t.Skip("CRIU_COMMAND names no criu command")
		}
		c := criu.MakeCriu()
		c.SetCriuPath(command)
		test(t, c)
	})
	t.Run("kept", func(t *testing.T) {
		if command == "" {
			t.Skip("CRIU_COMMAND names no criu command")
		}
		c := criu.MakeCriu()
		c.SetCriuPath(command)
		if err := c.Prepare(); err != nil {
			t.Fatal(err)
		}
		test(t, c)
		if err := c.Cleanup(); err != nil {
			t.Fatal(err)
		}
	})
}

// victim is a program that writes a growing number into a file.
type victim struct {
	pid int
	out string
}

// startVictim starts one in a session of its own.
func startVictim(t *testing.T) *victim {
	t.Helper()
	v := &victim{out: filepath.Join(t.TempDir(), "count")}
	v.start(t, fmt.Sprintf("i=0; while :; do i=$((i+1)); echo $i >> %s; sleep 0.02; done", v.out))
	v.goesOn(t)
	return v
}

func (v *victim) start(t *testing.T, script string) {
	t.Helper()
	cmd := exec.Command("sh", "-c", script)
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	v.pid = cmd.Process.Pid
	if err := cmd.Process.Release(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { v.kill(t) })
}

func (v *victim) lines() int {
	file, err := os.Open(v.out)
	if err != nil {
		return 0
	}
	defer file.Close() //nolint:errcheck // only read
	n := 0
	for s := bufio.NewScanner(file); s.Scan(); {
		n++
	}
	return n
}

func (v *victim) goesOn(t *testing.T) {
	t.Helper()
	before := v.lines()
	eventually(t, "the victim goes on", func() bool { return v.lines() > before+1 })
}

// gone tells whether nothing is left of the victim's process group, not even a dead process: each keeps the number taken.
func (v *victim) gone() bool {
	for {
		var status syscall.WaitStatus
		if pid, _ := syscall.Wait4(-v.pid, &status, syscall.WNOHANG, nil); pid <= 0 {
			return syscall.Kill(-v.pid, 0) == syscall.ESRCH
		}
	}
}

func (v *victim) kill(t *testing.T) {
	_ = syscall.Kill(-v.pid, syscall.SIGKILL)
	eventually(t, "the victim is gone", v.gone)
}

// consistent tells whether nothing was lost and nothing done twice.
func (v *victim) consistent(t *testing.T) {
	t.Helper()
	text, err := os.ReadFile(v.out)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	for i, line := range lines[:len(lines)-1] {
		if line != fmt.Sprint(i+1) {
			t.Fatalf("line %d is %q", i+1, line)
		}
	}
}

func options(t *testing.T) (*rpc.CriuOpts, *os.File) {
	t.Helper()
	dir, err := os.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = dir.Close() })
	return &rpc.CriuOpts{ImagesDirFd: proto.Int32(int32(dir.Fd())), LogLevel: proto.Int32(4), LogFile: proto.String("log")}, dir
}

// stages notes what it is told.
type stages struct {
	seen       []string
	restored   int32
	fail       string
	progressed bool
	logged     bool
}

var errRefused = errors.New("the test says no")

func (s *stages) at(name string) error {
	s.seen = append(s.seen, name)
	if s.fail == name {
		return errRefused
	}
	return nil
}

func (s *stages) PreDump() error              { return s.at("pre-dump") }
func (s *stages) PostDump() error             { return s.at("post-dump") }
func (s *stages) PreRestore() error           { return s.at("pre-restore") }
func (s *stages) NetworkLock() error          { return s.at("network-lock") }
func (s *stages) NetworkUnlock() error        { return s.at("network-unlock") }
func (s *stages) PostSetupNamespaces() error  { return s.at("post-setup-namespaces") }
func (s *stages) PostResume() error           { return s.at("post-resume") }
func (s *stages) SetupNamespaces(int32) error { return s.at("setup-namespaces") }
func (s *stages) PostRestore(pid int32) error {
	s.restored = pid
	return s.at("post-restore")
}
func (s *stages) Progress(string, uint64, uint64) { s.progressed = true }
func (s *stages) LogLevel() int                   { return 4 }
func (s *stages) Log(int, string)                 { s.logged = true }

func (s *stages) saw(t *testing.T, names ...string) {
	t.Helper()
	at := 0
	for _, seen := range s.seen {
		if at < len(names) && seen == names[at] {
			at++
		}
	}
	if at != len(names) {
		t.Fatalf("stages %v are not among %v in this order", names, s.seen)
	}
}

func TestVersion(t *testing.T) {
	each(t, func(t *testing.T, c *criu.Criu) {
		version, err := c.GetCriuVersion()
		if err != nil {
			t.Fatal(err)
		}
		if version < 40200 {
			t.Fatalf("version %d", version)
		}
		for _, minimum := range []int{30000, version, version + 1} {
			ok, err := c.IsCriuAtLeast(minimum)
			if err != nil || ok != (version >= minimum) {
				t.Fatalf("at least %d: %v, %v", minimum, ok, err)
			}
		}
	})
}

func TestFeatures(t *testing.T) {
	each(t, func(t *testing.T, c *criu.Criu) {
		found, err := c.FeatureCheck(&rpc.CriuFeatures{PidfdStore: proto.Bool(true)})
		if err != nil {
			t.Fatal(err)
		}
		if found.PidfdStore == nil || found.MemTrack != nil {
			t.Fatalf("pidfd_store alone was asked for: %v", found)
		}
	})
}

func TestDumpAndRestore(t *testing.T) {
	each(t, func(t *testing.T, c *criu.Criu) {
		v := startVictim(t)
		opts, dir := options(t)
		opts.Pid = proto.Int32(int32(v.pid))
		dump := &stages{}
		if err := c.Dump(opts, dump); err != nil {
			t.Fatal(err)
		}
		dump.saw(t, "pre-dump", "post-dump")
		if !dump.progressed || !dump.logged {
			t.Fatal("no progress, or no lines of the log")
		}
		if s, err := stats.CriuGetDumpStats(dir); err != nil || s.GetPagesWritten() == 0 {
			t.Fatalf("statistics: %v, %v", s, err)
		}
		eventually(t, "the victim is gone", v.gone)
		restore := &stages{}
		opts.Pid = nil
		pid, err := c.RestoreContext(context.Background(), opts, restore)
		if err != nil {
			t.Fatal(err)
		}
		if pid != v.pid || restore.restored != int32(v.pid) {
			t.Fatalf("pid %d was restored as %d, the callback was told %d", v.pid, pid, restore.restored)
		}
		restore.saw(t, "pre-restore", "setup-namespaces", "post-setup-namespaces", "post-restore", "post-resume")
		if s, err := stats.CriuGetRestoreStats(dir); err != nil || s.GetRestoreTime() == 0 {
			t.Fatalf("statistics: %v, %v", s, err)
		}
		v.goesOn(t)
		v.consistent(t)
	})
}

func TestRestoredChild(t *testing.T) {
	each(t, func(t *testing.T, c *criu.Criu) {
		v := startVictim(t)
		opts, _ := options(t)
		opts.Pid = proto.Int32(int32(v.pid))
		if err := c.Dump(opts, criu.NoNotify{}); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the victim is gone", v.gone)
		opts.Pid, opts.RstSibling = nil, proto.Bool(true)
		parent := &parentage{pid: v.pid}
		if err := c.Restore(opts, parent); err != nil {
			t.Fatal(err)
		}
		if parent.found != os.Getpid() {
			t.Fatalf("its parent is %d", parent.found)
		}
		v.goesOn(t)
		if err := syscall.Kill(v.pid, syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		var status syscall.WaitStatus
		if pid, err := syscall.Wait4(v.pid, &status, 0, nil); pid != v.pid || status.Signal() != syscall.SIGTERM {
			t.Fatalf("wait returned %d, %v, status %#x", pid, err, status)
		}
	})
}

// parentage notes whose child the restored process is while the engine still lives.
type parentage struct {
	criu.NoNotify
	pid, found int
}

func (p *parentage) PostResume() error {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.pid))
	if err != nil {
		return err
	}
	_, rest, _ := strings.Cut(string(text), ") ")
	_, err = fmt.Sscanf(rest[2:], "%d", &p.found)
	return err
}

func TestInheritedFile(t *testing.T) {
	each(t, func(t *testing.T, c *criu.Criu) {
		reader, writer, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		defer reader.Close() //nolint:errcheck // nothing is lost
		v := &victim{out: filepath.Join(t.TempDir(), "none")}
		cmd := exec.Command("sh", "-c", "while :; do echo x; sleep 0.02; done")
		cmd.Dir, cmd.Stdout = "/", writer
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		v.pid = cmd.Process.Pid
		t.Cleanup(func() { v.kill(t) })
		key, err := os.Readlink(fmt.Sprintf("/proc/%d/fd/1", v.pid))
		if err != nil {
			t.Fatal(err)
		}
		_ = writer.Close()
		opts, _ := options(t)
		opts.Pid = proto.Int32(int32(v.pid))
		if err := c.Dump(opts, nil); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the victim is gone", v.gone)
		newReader, newWriter, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		defer newReader.Close() //nolint:errcheck // nothing is lost
		// A worker that is kept was started before the file was registered.
		if err := c.Cleanup(); err != nil {
			t.Fatal(err)
		}
		c.AddInheritFd(key, newWriter)
		opts.Pid = nil
		if err := c.Restore(opts, nil); err != nil {
			t.Fatal(err)
		}
		_ = newWriter.Close()
		if err := newReader.SetReadDeadline(time.Now().Add(limit)); err != nil {
			t.Fatal(err)
		}
		if n, err := newReader.Read(make([]byte, 2)); n == 0 {
			t.Fatal("nothing comes from the restored process: ", err)
		}
	})
}

func TestRefusingCallback(t *testing.T) {
	each(t, func(t *testing.T, c *criu.Criu) {
		v := startVictim(t)
		opts, _ := options(t)
		opts.Pid = proto.Int32(int32(v.pid))
		err := c.Dump(opts, &stages{fail: "post-dump"})
		var e *criu.Error
		if !errors.As(err, &e) || e.Code != criu.ErrCallback || !errors.Is(err, errRefused) {
			t.Fatalf("%#v", err)
		}
		v.goesOn(t)
		v.consistent(t)
	})
}

func TestPanickingCallback(t *testing.T) {
	each(t, func(t *testing.T, c *criu.Criu) {
		v := startVictim(t)
		opts, _ := options(t)
		opts.Pid = proto.Int32(int32(v.pid))
		defer func() {
			if p := recover(); p != "here" {
				t.Fatalf("recovered %v", p)
			}
			v.goesOn(t)
		}()
		_ = c.Dump(opts, panicking{})
	})
}

type panicking struct{ criu.NoNotify }

func (panicking) PostDump() error { panic("here") }

func TestNoProcess(t *testing.T) {
	each(t, func(t *testing.T, c *criu.Criu) {
		opts, dir := options(t)
		opts.Pid = proto.Int32(1<<22 - 3)
		err := c.Dump(opts, nil)
		var e *criu.Error
		if !errors.As(err, &e) || e.Code != criu.ErrNoProcess || e.Op != "DUMP" || !errors.Is(err, syscall.ESRCH) {
			t.Fatalf("%#v", err)
		}
		if _, err := os.Stat(dir.Name() + "/inventory.img"); err == nil {
			t.Fatal("there is an inventory of a failed dump")
		}
	})
}

func TestEmptyImages(t *testing.T) {
	each(t, func(t *testing.T, c *criu.Criu) {
		opts, _ := options(t)
		err := c.Restore(opts, nil)
		var e *criu.Error
		if !errors.As(err, &e) || e.Phase != "load" || !strings.Contains(err.Error(), "inventory.img") {
			t.Fatalf("%#v", err)
		}
	})
}

func TestBlockers(t *testing.T) {
	each(t, func(t *testing.T, c *criu.Criu) {
		// A lock that others wait for is not dumped without CriuOpts.FileLocks.
		v := startLocked(t)
		opts, _ := options(t)
		opts.Pid = proto.Int32(int32(v.pid))
		blockers, err := c.Preflight(context.Background(), opts)
		if err != nil || len(blockers) == 0 {
			t.Fatalf("preflight: %v, %v", blockers, err)
		}
		err = c.Dump(opts, nil)
		var e *criu.Error
		if !errors.As(err, &e) || len(e.Blockers) == 0 || e.Blockers[0].Pid != v.pid || e.Blockers[0].Hint == "" {
			t.Fatalf("%#v", err)
		}
		if err := syscall.Kill(v.pid, 0); err != nil {
			t.Fatal("a refused dump has ended the victim")
		}
	})
}

// startLocked starts a process that holds a lock.
func startLocked(t *testing.T) *victim {
	t.Helper()
	v := &victim{out: filepath.Join(t.TempDir(), "lock")}
	v.start(t, fmt.Sprintf("exec 9>%s; flock 9; echo held >&9; exec sleep 600", v.out))
	eventually(t, "the lock is held", func() bool { return v.lines() > 0 })
	return v
}

func TestNoSuchCommand(t *testing.T) {
	c := criu.MakeCriu()
	c.SetCriuPath("/no/such/criu")
	for _, err := range []error{c.Prepare(), c.Dump(&rpc.CriuOpts{}, nil)} {
		var e *criu.Error
		if !errors.As(err, &e) || e.Code != criu.ErrConnect || e.Hint == "" {
			t.Fatalf("%#v", err)
		}
	}
}

func TestCancel(t *testing.T) {
	each(t, func(t *testing.T, c *criu.Criu) {
		v := startVictim(t)
		opts, _ := options(t)
		opts.Pid = proto.Int32(int32(v.pid))
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		err := c.DumpContext(ctx, opts, cancelling{cancel: cancel})
		var e *criu.Error
		if !errors.As(err, &e) || e.Code != criu.ErrCancelled || !errors.Is(err, context.Canceled) {
			t.Fatalf("%#v", err)
		}
		v.goesOn(t)
		v.consistent(t)
		if err := c.DumpContext(ctx, opts, nil); !errors.Is(err, context.Canceled) {
			t.Fatalf("a cancelled context begins something: %v", err)
		}
		// The next operation knows nothing of it.
		again, _ := options(t)
		again.Pid, again.LeaveRunning = opts.Pid, proto.Bool(true)
		told := &stages{}
		if err := c.Dump(again, told); err != nil {
			t.Fatal(err)
		}
		told.saw(t, "pre-dump", "post-dump")
	})
}

// cancelling cancels its operation when the tree is frozen.
type cancelling struct {
	criu.NoNotify
	cancel func()
}

func (c cancelling) PostDump() error {
	c.cancel()
	// The engine is told by another goroutine; until then this stage is not over.
	time.Sleep(700 * time.Millisecond)
	return nil
}

func TestDeadline(t *testing.T) {
	each(t, func(t *testing.T, c *criu.Criu) {
		v := startVictim(t)
		opts, _ := options(t)
		opts.Pid = proto.Int32(int32(v.pid))
		ctx, cancel := context.WithTimeout(context.Background(), 400*time.Millisecond)
		defer cancel()
		err := c.DumpContext(ctx, opts, slow{})
		var e *criu.Error
		if !errors.As(err, &e) || e.Code != criu.ErrDeadline || !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("%#v", err)
		}
		v.goesOn(t)
		v.consistent(t)
	})
}

// slow takes longer than its test's deadline.
type slow struct{ criu.NoNotify }

func (slow) PostDump() error {
	time.Sleep(1200 * time.Millisecond)
	return nil
}
