package crit_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/checkpoint-restore/go-criu/v8/crit"
)

const golden = "../../../tests/golden"

// images are the golden images that have a JSON form.
func images(t *testing.T, test func(t *testing.T, image, json string)) {
	forms, err := filepath.Glob(golden + "/*/json/*.json")
	if err != nil || len(forms) < 200 {
		t.Fatalf("%d golden images, %v", len(forms), err)
	}
	for _, json := range forms {
		dir, name := filepath.Split(json)
		name = strings.TrimSuffix(name, ".json")
		image := filepath.Join(dir, "..", name+".img")
		if _, err := os.Stat(image); err != nil {
			// Statistics have no suffix.
			image = filepath.Join(dir, "..", name)
		}
		test(t, image, json)
	}
}

func open(t *testing.T, name string) *os.File {
	t.Helper()
	file, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = file.Close() })
	return file
}

func read(t *testing.T, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestGoldenJSON(t *testing.T) {
	images(t, func(t *testing.T, image, json string) {
		img, err := crit.New(open(t, image), nil, "", true, false).Decode(nil)
		if err != nil {
			t.Fatal(err)
		}
		var text bytes.Buffer
		if err := img.Write(&text, true); err != nil {
			t.Fatalf("%s: %v", image, err)
		}
		if want := bytes.TrimRight(read(t, json), "\n"); !bytes.Equal(text.Bytes(), want) {
			t.Errorf("%s: %s", image, difference(text.Bytes(), want))
		}
	})
}

func difference(got, want []byte) string {
	g, w := strings.Split(string(got), "\n"), strings.Split(string(want), "\n")
	for i := range min(len(g), len(w)) {
		if g[i] != w[i] {
			return "got " + g[i] + ", want " + w[i]
		}
	}
	return "one ends before the other"
}

func TestGoldenBytes(t *testing.T) {
	images(t, func(t *testing.T, image, json string) {
		want := read(t, image)
		img, err := crit.New(open(t, image), nil, "", false, false).Decode(nil)
		if err != nil {
			t.Fatal(err)
		}
		check := func(what string, img *crit.CriuImage) {
			if got := encoded(t, img); !bytes.Equal(got, want) {
				t.Errorf("%s, %s: not the same %d bytes", image, what, len(want))
			}
		}
		check("as it was decoded", img)
		compact, err := img.MarshalJSON()
		if err != nil {
			t.Fatal(err)
		}
		again := new(crit.CriuImage)
		if err := again.UnmarshalJSON(compact); err != nil {
			t.Fatalf("%s: %v", image, err)
		}
		check("by way of compact JSON", again)
		parsed, err := crit.New(open(t, json), nil, "", false, false).Parse(nil)
		if err != nil {
			t.Fatal(err)
		}
		check("from the golden JSON", parsed)
	})
}

func encoded(t *testing.T, img *crit.CriuImage) []byte {
	t.Helper()
	file, err := os.Create(filepath.Join(t.TempDir(), "image"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close() //nolint:errcheck // it is read back
	if err := crit.New(nil, file, "", false, false).Encode(img); err != nil {
		t.Fatal(err)
	}
	return read(t, file.Name())
}

func TestInfo(t *testing.T) {
	img, err := crit.New(open(t, golden+"/threads/pstree.img"), nil, "", false, false).Info()
	if err != nil {
		t.Fatal(err)
	}
	text, err := img.MarshalJSON()
	if err != nil || string(text) != `{"magic": "PSTREE", "entries": [{"extra": "1"}]}` {
		t.Fatalf("%s, %v", text, err)
	}
}

func TestWithoutPayload(t *testing.T) {
	img, err := crit.New(open(t, golden+"/files/pipes-data.img"), nil, "", false, true).Decode(nil)
	if err != nil {
		t.Fatal(err)
	}
	if extra := img.Entries[0].Extra; !strings.HasSuffix(extra, "B") || len(extra) > 6 {
		t.Fatalf("extra %q", extra)
	}
}

// Every image cut off anywhere, and with a byte changed, is decoded or refused with the offset.
func TestBrokenImages(t *testing.T) {
	for _, name := range []string{"files/files.img", "tree/pstree.img", "ipc/ipcns-msg-9.img", "inet/tcp-stream-5ad60.img"} {
		whole := read(t, filepath.Join(golden, name))
		check := func(data []byte) {
			file := filepath.Join(t.TempDir(), "image")
			if err := os.WriteFile(file, data, 0o600); err != nil {
				t.Fatal(err)
			}
			_, err := crit.New(open(t, file), nil, "", false, false).Decode(nil)
			var e *crit.Error
			if err != nil && (!errors.As(err, &e) || e.File != file || e.Offset > len(data)) {
				t.Fatalf("%s: %v", name, err)
			}
		}
		for cut := 0; cut < len(whole); cut += 1 + len(whole)/40 {
			check(whole[:cut])
			changed := bytes.Clone(whole)
			changed[cut] ^= 0xff
			check(changed)
		}
	}
}

func TestBrokenJSON(t *testing.T) {
	for _, text := range []string{
		"", "{", "[]", `{"magic": "NONE", "entries": []}`, `{"magic": "PSTREE"}`, `{"magic": "PSTREE", "entries": [{}]}`,
		`{"magic": "PSTREE", "entries": [{"pid": "x"}]}`, `{"magic": "PSTREE", "entries": [{"pid": -1}]}`,
		`{"magic": "PSTREE", "entries": [{"pid": 4294967296}]}`, `{"magic": "PSTREE", "entries": [{"nothing": 1}]}`,
		`{"magic": "PSTREE", "entries": []} x`, `{"magic": "PSTREE", "entries": [}`, `{"magic": "\ud800", "entries": []}`,
		`{"magic": "PSTREE", "entries": [{"pid": 1.5}]}`, strings.Repeat("[", 100000),
	} {
		if err := new(crit.CriuImage).UnmarshalJSON([]byte(text)); err == nil {
			t.Errorf("%.60s is an image", text)
		}
	}
}

func TestExplore(t *testing.T) {
	c := crit.New(nil, nil, golden+"/tree", false, false)
	ps, err := c.ExplorePs()
	if err != nil {
		t.Fatal(err)
	}
	if ps.PID != 3327 || ps.Comm == "" || ps.FindPs(3331) == nil || ps.FindPs(1) != nil {
		t.Fatalf("%+v", ps)
	}
	states := map[crit.TaskState]int{}
	var count func(*crit.PsTree)
	count = func(p *crit.PsTree) {
		states[crit.TaskState(p.Core.GetTc().GetTaskState())]++
		for _, child := range p.Children {
			count(child)
		}
	}
	count(ps)
	if states[crit.TaskAlive] != 3 || states[crit.TaskDead] != 1 {
		t.Fatalf("states %v", states)
	}
	mems, err := c.ExploreMems()
	if err != nil || len(mems) != 3 || mems[0].Exe != "/tmp/golden" || len(mems[0].Mems) == 0 {
		t.Fatalf("%v, %v", mems, err)
	}
	rss, err := c.ExploreRss()
	if err != nil || len(rss) != 3 || len(rss[0].Rsses) == 0 || len(rss[0].Rsses[0].Vmas) == 0 {
		t.Fatalf("%v, %v", rss, err)
	}
	fds, err := crit.New(nil, nil, golden+"/files", false, false).ExploreFds()
	if err != nil || len(fds) != 1 {
		t.Fatalf("%v, %v", fds, err)
	}
	types := map[string]bool{}
	for _, f := range fds[0].Files {
		types[f.Type] = true
		if f.Path == "" || strings.HasPrefix(f.Path, "(no") {
			t.Fatalf("%+v", f)
		}
	}
	if !types["PIPE"] || !types["EVENTFD"] || !types["REG"] {
		t.Fatalf("types %v", types)
	}
	sks, err := crit.New(nil, nil, golden+"/sockets", false, false).ExploreSk()
	if err != nil || len(sks) != 1 {
		t.Fatalf("%v, %v", sks, err)
	}
	listening := 0
	for _, s := range sks[0].Sockets {
		if s.State == "LISTEN" && s.Protocol == "TCP" && s.SrcAddr == "127.0.0.1" && s.SrcPort != 0 {
			listening++
		}
	}
	if listening != 1 {
		t.Fatalf("%d TCP sockets listen", listening)
	}
	if _, err := crit.New(nil, nil, t.TempDir(), false, false).ExplorePs(); err == nil {
		t.Fatal("an empty directory is a checkpoint")
	}
}

func TestMemory(t *testing.T) {
	mr, err := crit.NewMemoryReader(golden+"/files", 3178, 4096)
	if err != nil {
		t.Fatal(err)
	}
	args, err := mr.GetPsArgs()
	if err != nil || !strings.HasPrefix(args.String(), "/tmp/golden\x00") {
		t.Fatalf("%q, %v", args, err)
	}
	found, err := mr.SearchPattern("/tmp/golden", true, 5, 0)
	if err != nil || len(found) == 0 {
		t.Fatalf("%v, %v", found, err)
	}
	small, err := mr.SearchPattern("/tmp/golden", true, 5, 5000)
	if err != nil || len(small) != len(found) {
		t.Fatalf("%d places, %d in small chunks, %v", len(found), len(small), err)
	}
	for _, m := range found {
		memory, err := mr.GetMemPages(m.Vaddr, m.Vaddr+uint64(m.Length))
		if err != nil || memory.String() != "/tmp/golden" {
			t.Fatalf("at %#x: %q, %v", m.Vaddr, memory, err)
		}
	}
	mr, err = crit.NewMemoryReader(golden+"/tree", 3327, 4096)
	if err != nil {
		t.Fatal(err)
	}
	if size, err := mr.GetShmemSize(); err != nil || size == 0 {
		t.Fatalf("%d, %v", size, err)
	}
	if _, err := crit.NewMemoryReader(golden+"/files", 1, 4096); !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
}
