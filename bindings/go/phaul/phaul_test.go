package phaul

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	criu "github.com/checkpoint-restore/go-criu/v8"
	"github.com/checkpoint-restore/go-criu/v8/rpc"
	"github.com/checkpoint-restore/go-criu/v8/stats"
)

func TestGoesOn(t *testing.T) {
	for _, c := range []struct {
		sent []uint64
		want bool
	}{
		{nil, true}, {[]uint64{64}, false}, {[]uint64{10000}, true}, {[]uint64{10000, 5000}, true}, {[]uint64{10000, 9001}, false},
		{[]uint64{10000, 12000}, false}, {[]uint64{10000, 50}, false}, {[]uint64{1 << 30, 1 << 28, 1 << 26, 1 << 24, 1 << 22, 1 << 20, 1 << 18, 1 << 16}, false},
	} {
		if got := goesOn(c.sent); got != c.want {
			t.Errorf("%v: %v", c.sent, got)
		}
	}
}

// pretended is an engine whose pre-dumps write so many pages each.
type pretended struct {
	track   bool
	pages   []uint64
	parents []string
	fail    error
}

func (p *pretended) FeatureCheck(*rpc.CriuFeatures) (*rpc.CriuFeatures, error) {
	return &rpc.CriuFeatures{MemTrack: proto.Bool(p.track)}, nil
}

func (p *pretended) PreDumpContext(_ context.Context, opts *rpc.CriuOpts, _ criu.Notify) error {
	if p.fail != nil {
		return p.fail
	}
	p.parents = append(p.parents, opts.GetParentImg())
	pages := p.pages[0]
	p.pages = p.pages[1:]
	entry := &stats.StatsEntry{Dump: &stats.DumpStatsEntry{
		FreezingTime: proto.Uint32(0), FrozenTime: proto.Uint32(0), MemdumpTime: proto.Uint32(0), MemwriteTime: proto.Uint32(0),
		PagesScanned: proto.Uint64(0), PagesSkippedParent: proto.Uint64(0), PagesWritten: &pages, PagesLazy: proto.Uint64(0),
	}}
	body, err := proto.Marshal(entry)
	if err != nil {
		return err
	}
	lead := []byte{0x40, 0x59, 0x10, 0x55, 0x06, 0x33, 0x09, 0x57, byte(len(body)), 0, 0, 0}
	dir, err := os.Readlink(fmt.Sprint("/proc/self/fd/", opts.GetImagesDirFd()))
	if err != nil {
		return err
	}
	return os.WriteFile(dir+"/stats-dump", append(lead, body...), 0o600)
}

// noted notes what a client asks for.
type noted struct {
	calls []string
	last  string
}

func (n *noted) StartIter() error { n.calls = append(n.calls, "start"); return nil }
func (n *noted) StopIter() error  { n.calls = append(n.calls, "stop"); return nil }
func (n *noted) DumpCopyRestore(_ *criu.Criu, _ Config, last string) error {
	n.calls = append(n.calls, "dump")
	n.last = last
	return nil
}

func TestIterations(t *testing.T) {
	n := &noted{}
	wdir := t.TempDir()
	c, err := MakePhaulClient(n, n, Config{Pid: 1, Wdir: wdir})
	if err != nil {
		t.Fatal(err)
	}
	e := &pretended{track: true, pages: []uint64{5000, 900, 890, 1}}
	c.engine = e
	if err := c.Migrate(); err != nil {
		t.Fatal(err)
	}
	if want := []string{"start", "stop", "start", "stop", "start", "stop", "dump"}; !slices.Equal(n.calls, want) {
		t.Fatalf("%v", n.calls)
	}
	if want := []string{"", wdir + "/1", wdir + "/2"}; !slices.Equal(e.parents, want) || n.last != wdir+"/3" {
		t.Fatalf("%v, %s", e.parents, n.last)
	}
}

func TestFailedIteration(t *testing.T) {
	n := &noted{}
	c, err := MakePhaulClient(n, n, Config{Pid: 1, Wdir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	refused := errors.New("no")
	c.engine = &pretended{track: true, fail: refused}
	if err := c.Migrate(); !errors.Is(err, refused) || slices.Contains(n.calls, "dump") {
		t.Fatalf("%v, %v", err, n.calls)
	}
}

func TestNoTracking(t *testing.T) {
	n := &noted{last: "unset"}
	c, err := MakePhaulClient(n, n, Config{Pid: 1, Wdir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	c.engine = &pretended{}
	if err := c.Migrate(); err != nil || n.last != "" || !slices.Equal(n.calls, []string{"dump"}) {
		t.Fatalf("%v, %v, %q", err, n.calls, n.last)
	}
}

func TestWrongConfigurations(t *testing.T) {
	n := &noted{}
	for _, c := range []Config{{}, {Pid: 1}, {Wdir: t.TempDir()}, {Pid: 1, Wdir: "/proc/none"}} {
		if _, err := MakePhaulClient(n, n, c); err == nil {
			t.Errorf("%+v makes a client", c)
		}
	}
	if _, err := MakePhaulServer(Config{}); err == nil {
		t.Error("no directory makes a server")
	}
}

// What a stranger sends to Serve is refused, and leaves nothing outside its directory.
func TestStrangers(t *testing.T) {
	for _, text := range []string{
		"", "\n", "{}\n", `{"op":"none"}` + "\n", `{"op":"stop-iter"}` + "\n", `{"op":"restore"}` + "\n", strings.Repeat("x", 10000),
		`{"op":"file","name":"../evil.img","size":1}` + "\nx", `{"op":"file","name":"evil","size":1}` + "\nx",
		`{"op":"file","name":"a.img","size":-1}` + "\n", `{"op":"file","name":"a.img","size":99}` + "\nx",
		`{"op":"file","name":"inventory.img","size":4}` + "\nxxxx" + `{"op":"restore"}` + "\n",
	} {
		base := t.TempDir()
		s, err := MakePhaulServer(Config{Wdir: filepath.Join(base, "server")})
		if err != nil {
			t.Fatal(err)
		}
		ours, theirs := net.Pipe()
		go func() {
			_ = theirs.SetDeadline(time.Now().Add(30 * time.Second))
			go func() {
				_, _ = theirs.Write([]byte(text))
				time.Sleep(100 * time.Millisecond)
				_ = theirs.Close()
			}()
			_, _ = theirs.Read(make([]byte, 1<<16))
			_, _ = theirs.Read(make([]byte, 1<<16))
		}()
		if pid, err := s.Serve(context.Background(), ours, nil); err == nil {
			t.Errorf("%.50q restores %d", text, pid)
		}
		if left, _ := os.ReadDir(base); len(left) != 1 {
			t.Errorf("%.50q leaves %v", text, left)
		}
		_ = ours.Close()
	}
}

func TestEndOfContext(t *testing.T) {
	s, err := MakePhaulServer(Config{Wdir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	ours, theirs := net.Pipe()
	defer theirs.Close() //nolint:errcheck // a test's
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := s.Serve(ctx, ours, nil); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
}
