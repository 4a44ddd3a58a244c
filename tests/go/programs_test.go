// Package programs runs the programs beside it and the examples, which PROGRAMS names the folder of.
package programs

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Every wait has this limit.
const limit = 60 * time.Second

func TestMain(m *testing.M) {
	const prSetChildSubreaper = 36
	if _, _, errno := syscall.RawSyscall(syscall.SYS_PRCTL, prSetChildSubreaper, 1, 0); errno != 0 {
		panic(errno)
	}
	os.Exit(m.Run())
}

func program(t *testing.T, name string) string {
	folder := os.Getenv("PROGRAMS")
	if folder == "" {
		t.Skip("PROGRAMS names no folder of built programs")
	}
	return filepath.Join(folder, name)
}

func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	for end := time.Now().Add(limit); !done(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s: not within %v", what, limit)
		}
	}
}

// process is a program in a session of its own, which may be gone and come back.
type process struct {
	pid int
	out string
}

func start(t *testing.T, args ...string) *process {
	t.Helper()
	p := &process{out: filepath.Join(t.TempDir(), "out")}
	file, err := os.Create(p.out)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close() //nolint:errcheck // the child has its own
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Stdout, cmd.Stderr, cmd.Dir = file, file, "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p.pid = cmd.Process.Pid
	if err := cmd.Process.Release(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = syscall.Kill(-p.pid, syscall.SIGKILL)
		eventually(t, "it is gone", p.gone)
	})
	return p
}

// gone tells whether nothing is left of the process group, not even a dead process: each keeps the number taken.
func (p *process) gone() bool {
	for {
		var status syscall.WaitStatus
		if pid, _ := syscall.Wait4(-p.pid, &status, syscall.WNOHANG, nil); pid <= 0 {
			return syscall.Kill(-p.pid, 0) == syscall.ESRCH
		}
	}
}

func (p *process) says(text string) bool {
	all, err := os.ReadFile(p.out)
	return err == nil && strings.Contains(string(all), text)
}

func (p *process) comesTo(t *testing.T, text string) {
	t.Helper()
	eventually(t, fmt.Sprintf("%q", text), func() bool { return p.says(text) })
}

// run runs a program to its end and returns what it printed.
func run(t *testing.T, args ...string) string {
	t.Helper()
	text, err := exec.Command("timeout", append([]string{"-k", "5", "60"}, args...)...).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %v\n%s", args, err, text)
	}
	return string(text)
}

// transports are the arguments that programs take for each.
func transports(t *testing.T, test func(t *testing.T, more ...string)) {
	t.Run("library", func(t *testing.T) { test(t) })
	t.Run("swrk", func(t *testing.T) {
		command := os.Getenv("CRIU_COMMAND")
		if command == "" {
			t.Skip("CRIU_COMMAND names no criu command")
		}
		test(t, command)
	})
}

func TestConsumer(t *testing.T) {
	consumer := program(t, "consumer")
	transports(t, func(t *testing.T, more ...string) {
		victim := start(t, "sh", "-c", "while :; do echo $((i=i+1)); sleep 0.02; done")
		victim.comesTo(t, "\n3\n")
		images := t.TempDir()
		// The victim's parent reaps it, as that of a container does, so that its pid is free for the restore.
		cmd := exec.Command("timeout", append([]string{"-k", "5", "60", consumer, fmt.Sprint(victim.pid), images}, more...)...)
		text := &strings.Builder{}
		cmd.Stdout, cmd.Stderr = text, text
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		saved := func() bool { _, err := os.Stat(images + "/inventory.img"); return err == nil }
		eventually(t, "it is saved and gone, or the consumer ended", func() bool { return saved() && victim.gone() || cmd.ProcessState != nil })
		if err := cmd.Wait(); err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
		want := []string{"version 40200", "pre-dump", "post-dump", "pages true", fmt.Sprint("process ", victim.pid, " sh Alive"), "pre-restore", fmt.Sprint("post-restore ", victim.pid), "done"}
		if got := strings.TrimSpace(text.String()); got != strings.Join(want, "\n") {
			t.Fatalf("it says\n%s", got)
		}
		before, _ := os.ReadFile(victim.out)
		eventually(t, "the victim goes on", func() bool {
			now, err := os.ReadFile(victim.out)
			return err == nil && len(now) > len(before)
		})
	})
}

func TestSelf(t *testing.T) {
	self, other := program(t, "self"), program(t, "other")
	transports(t, func(t *testing.T, more ...string) {
		images := t.TempDir()
		p := start(t, append([]string{self, images}, more...)...)
		eventually(t, "it is saved and gone", func() bool { return p.gone() || p.says("failed") })
		if p.says("failed") || !p.says("saving") {
			text, _ := os.ReadFile(p.out)
			t.Fatalf("it says %s", text)
		}
		// Whatever is restored is a checkpoint of the same state, twice.
		for range 2 {
			if err := os.Truncate(p.out, int64(len("saving\n"))); err != nil {
				t.Fatal(err)
			}
			run(t, other, "restore", images)
			p.comesTo(t, "restored: true\nall at work\n")
			eventually(t, "it ends", p.gone)
		}
	})
}

func TestExampleOther(t *testing.T) {
	other := program(t, "other")
	victim := start(t, "sh", "-c", "while :; do echo $((i=i+1)); sleep 0.02; done")
	victim.comesTo(t, "\n3\n")
	images := t.TempDir()
	run(t, other, "save", fmt.Sprint(victim.pid), images)
	eventually(t, "it is gone", victim.gone)
	if text := run(t, other, "restore", images); !strings.Contains(text, fmt.Sprintf("restored, pid %d\n", victim.pid)) {
		t.Fatalf("it says %s", text)
	}
	before, _ := os.ReadFile(victim.out)
	eventually(t, "it goes on", func() bool {
		now, err := os.ReadFile(victim.out)
		return err == nil && len(now) > len(before)
	})
	text, err := exec.Command(other, "restore", t.TempDir()).CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || !strings.Contains(string(text), "what would help: ") {
		t.Fatalf("%v, %s", err, text)
	}
}

func TestExampleInterval(t *testing.T) {
	interval, other := program(t, "interval"), program(t, "other")
	var base string
	var p *process
	for attempt := 1; ; attempt++ {
		base = t.TempDir()
		p = start(t, interval, base, "2500ms")
		eventually(t, "the first checkpoint", func() bool { _, err := os.Lstat(base + "/last"); return err == nil })
		if err := syscall.Kill(p.pid, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		eventually(t, "it is gone", p.gone)
		if !p.says("checkpoint 2") && !p.says("done") {
			break
		}
		// A machine so busy that more than the first checkpoint was made before it was ended.
		if attempt == 3 {
			t.Fatal("it is never ended in time")
		}
	}
	run(t, other, "restore", base+"/last")
	p.comesTo(t, "here again, from checkpoint 1\n")
	p.comesTo(t, "done: 5050\n")
}

func TestExampleSigterm(t *testing.T) {
	sigterm, other := program(t, "sigterm"), program(t, "other")
	images := t.TempDir()
	p := start(t, sigterm, images)
	p.comesTo(t, "ready\n")
	if err := syscall.Kill(p.pid, syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it is saved and gone", p.gone)
	if p.says("done") || p.says("goes on") {
		t.Fatal("it did not end")
	}
	run(t, other, "restore", images)
	p.comesTo(t, "goes on at ")
	p.comesTo(t, "done\n")
}

// startServer starts the example's server in namespaces of its own.
func startServer(t *testing.T) (server *process, socket string) {
	t.Helper()
	if err := exec.Command("unshare", "--pid", "--fork", "--mount-proc", "--net", "true").Run(); err != nil {
		t.Skip("no new namespaces can be made: ", err)
	}
	dir, err := os.MkdirTemp("", "ph") // the address of a socket is short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	socket = dir + "/s"
	server = start(t, "unshare", "--pid", "--fork", "--kill-child", "--mount-proc", "--net", program(t, "migrate"), "serve", socket, dir+"/images")
	server.comesTo(t, "ready\n")
	return server, socket
}

// pidHere is the pid that a process of another pid namespace has here.
func pidHere(t *testing.T, pid int) (here int) {
	t.Helper()
	eventually(t, "the restored process is found", func() bool {
		statuses, _ := filepath.Glob("/proc/[0-9]*/status")
		for _, name := range statuses {
			text, err := os.ReadFile(name)
			if err != nil || !strings.Contains(string(text), fmt.Sprintf("\t%d\n", pid)) {
				continue
			}
			for _, line := range strings.Split(string(text), "\n") {
				words := strings.Fields(line)
				if len(words) == 3 && words[0] == "NSpid:" && words[2] == fmt.Sprint(pid) {
					_, err := fmt.Sscan(words[1], &here)
					return err == nil
				}
			}
		}
		return false
	})
	return here
}

func TestMigration(t *testing.T) {
	migrate := program(t, "migrate")
	server, socket := startServer(t)
	victim := start(t, "sh", "-c", "while :; do echo $((i=i+1)); sleep 0.02; done")
	victim.comesTo(t, "\n3\n")
	run(t, migrate, "send", socket, t.TempDir(), fmt.Sprint(victim.pid))
	server.comesTo(t, fmt.Sprintf("pid %d runs here\n", victim.pid))
	eventually(t, "it is gone here", victim.gone)
	before, _ := os.ReadFile(victim.out)
	eventually(t, "it goes on there", func() bool {
		now, err := os.ReadFile(victim.out)
		return err == nil && len(now) > len(before)
	})
	here := pidHere(t, victim.pid)
	theirs, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/net", here))
	if err != nil {
		t.Fatal(err)
	}
	if ours, _ := os.Readlink("/proc/self/ns/net"); theirs == ours {
		t.Fatal("it is in the same network namespace")
	}
	if err := syscall.Kill(here, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	server.comesTo(t, "has ended\n")
	text, _ := os.ReadFile(victim.out)
	for i, line := range strings.Split(strings.TrimSpace(string(text)), "\n") {
		if line != fmt.Sprint(i+1) {
			t.Fatalf("line %d is %q", i+1, line)
		}
	}
}

// A migration that fails on the other side leaves the process where it is.
func TestFailedMigration(t *testing.T) {
	migrate := program(t, "migrate")
	server, socket := startServer(t)
	victim := start(t, "sh", "-c", "while :; do echo $((i=i+1)); sleep 0.02; done")
	victim.comesTo(t, "\n3\n")
	// What the server is to write is there already.
	blocked := filepath.Join(filepath.Dir(socket), "images", "1")
	if err := os.MkdirAll(blocked, 0o700); err != nil {
		t.Fatal(err)
	}
	text, err := exec.Command("timeout", "-k", "5", "60", migrate, "send", socket, t.TempDir(), fmt.Sprint(victim.pid)).CombinedOutput()
	if err == nil || !strings.Contains(string(text), "on the other side") {
		t.Fatalf("%v, %s", err, text)
	}
	before, _ := os.ReadFile(victim.out)
	eventually(t, "it goes on here", func() bool {
		now, err := os.ReadFile(victim.out)
		return err == nil && len(now) > len(before)
	})
	server.comesTo(t, "file exists\n")
}
