package cli_test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/checkpoint-restore/go-criu/v8/crit/cli"
)

const golden = "../../../../tests/golden/files"

func TestConversions(t *testing.T) {
	dir := t.TempDir()
	json, image := filepath.Join(dir, "json"), filepath.Join(dir, "image")
	if err := cli.Execute([]string{"decode", "--pretty", "-i", golden + "/files.img", "-o", json}); err != nil {
		t.Fatal(err)
	}
	if err := cli.Execute([]string{"encode", "-i", json, "-o", image}); err != nil {
		t.Fatal(err)
	}
	got, _ := os.ReadFile(image)
	want, err := os.ReadFile(golden + "/files.img")
	if err != nil || !bytes.Equal(got, want) {
		t.Fatalf("%d bytes, not the same %d, %v", len(got), len(want), err)
	}
	for _, args := range [][]string{{"info", golden + "/files.img"}, {"show", "--nopl", golden + "/pipes-data.img"}, {"x", golden, "ps"}, {"x", golden, "rss"}} {
		if err := cli.Execute(args); err != nil {
			t.Errorf("%v: %v", args, err)
		}
	}
}

func TestFailures(t *testing.T) {
	out := filepath.Join(t.TempDir(), "out")
	for _, args := range [][]string{
		nil, {"none"}, {"decode", "more"}, {"x", golden}, {"x", golden, "all"}, {"info", "/no/such"}, {"decode", "--no"},
		{"decode", "-i", "/etc/passwd", "-o", out}, {"encode", "-i", golden + "/files.img", "-o", out},
	} {
		if err := cli.Execute(args); err == nil {
			t.Errorf("%v: no error", args)
		}
	}
	if left, _ := filepath.Glob(out + "*"); left != nil {
		t.Errorf("%v is left", left)
	}
}

func TestEntryTypes(t *testing.T) {
	image, err := os.Open(golden + "/files.img")
	if err != nil {
		t.Fatal(err)
	}
	defer image.Close() //nolint:errcheck // only read
	json, err := os.Open(golden + "/json/files.json")
	if err != nil {
		t.Fatal(err)
	}
	defer json.Close() //nolint:errcheck // only read
	fromImage, err1 := cli.GetEntryTypeFromImg(image)
	fromJSON, err2 := cli.GetEntryTypeFromJSON(json)
	if err1 != nil || err2 != nil {
		t.Fatal(err1, err2)
	}
	for _, m := range []proto.Message{fromImage, fromJSON} {
		if name := m.ProtoReflect().Descriptor().Name(); name != "file_entry" {
			t.Errorf("%s", name)
		}
	}
}
