// Package cli is the command crit: decode, encode, show, info, x.
package cli

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"

	"google.golang.org/protobuf/proto"

	"github.com/checkpoint-restore/go-criu/v8/crit"
)

const usage = `usage:
  crit decode [-i FILE] [-o FILE] [--pretty]   an image as JSON
  crit encode [-i FILE] [-o FILE]              JSON as an image
  crit show [--nopl] FILE                      an image as indented JSON; without raw contents
  crit info FILE                               how many entries an image has
  crit x DIR ps|fds|mems|rss|sk                processes, files, memory areas, saved pages, sockets
`

// errUsage asks for the text above.
var errUsage = errors.New("usage")

// Init does nothing: there is nothing to prepare before Run.
func Init() {}

// Run executes the command line of this process, and exits with 1 if it fails and 2 if it is wrong.
func Run() {
	switch err := Execute(os.Args[1:]); {
	case errors.Is(err, errUsage), errors.Is(err, flag.ErrHelp):
		fmt.Fprint(os.Stderr, usage)
		os.Exit(2)
	case err != nil:
		fmt.Fprintln(os.Stderr, "crit:", err)
		os.Exit(1)
	}
}

// Execute executes a command line.
func Execute(args []string) error {
	if len(args) == 0 {
		return errUsage
	}
	flags := flag.NewFlagSet("crit "+args[0], flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	var in, out string
	var pretty, noPayload bool
	for _, name := range []string{"i", "in", "input"} {
		flags.StringVar(&in, name, "", "")
	}
	for _, name := range []string{"o", "out", "output"} {
		flags.StringVar(&out, name, "", "")
	}
	flags.BoolVar(&pretty, "pretty", false, "")
	flags.BoolVar(&noPayload, "nopl", false, "")
	if err := flags.Parse(args[1:]); err != nil {
		return errors.Join(err, errUsage)
	}
	rest := flags.Args()
	switch {
	case args[0] == "decode" && len(rest) == 0:
		return decode(in, out, pretty, noPayload)
	case args[0] == "encode" && len(rest) == 0:
		return encode(in, out)
	case args[0] == "show" && len(rest) == 1:
		return decode(rest[0], out, true, noPayload)
	case args[0] == "info" && len(rest) == 1:
		return info(rest[0])
	case args[0] == "x" && len(rest) == 2:
		return explore(rest[0], rest[1])
	}
	return errUsage
}

// withFiles opens what is named, or takes the standard streams. A new file is there only if all went well.
func withFiles(in, out string, do func(in, out *os.File) error) error {
	input, output := os.Stdin, os.Stdout
	if in != "" {
		file, err := os.Open(in)
		if err != nil {
			return err
		}
		defer file.Close() //nolint:errcheck // only read
		input = file
	}
	if out == "" {
		return do(input, output)
	}
	partial := out + ".part"
	output, err := os.Create(partial)
	if err != nil {
		return err
	}
	if err = errors.Join(do(input, output), output.Close()); err == nil {
		err = os.Rename(partial, out)
	}
	if err != nil {
		_ = os.Remove(partial)
	}
	return err
}

func decode(in, out string, pretty, noPayload bool) error {
	return withFiles(in, out, func(in, out *os.File) error {
		img, err := crit.New(in, out, "", pretty, noPayload).Decode(nil)
		if err != nil {
			return err
		}
		if err := img.Write(out, pretty); err != nil {
			return err
		}
		_, err = out.WriteString("\n")
		return err
	})
}

func encode(in, out string) error {
	return withFiles(in, out, func(in, out *os.File) error {
		c := crit.New(in, out, "", false, false)
		img, err := c.Parse(nil)
		if err != nil {
			return err
		}
		return c.Encode(img)
	})
}

func info(in string) error {
	return withFiles(in, "", func(in, out *os.File) error {
		img, err := crit.New(in, out, "", true, true).Info()
		if err != nil {
			return err
		}
		return show(img)
	})
}

func explore(dir, what string) error {
	c := crit.New(nil, nil, dir, true, false)
	var view any
	var err error
	switch what {
	case "ps", "p":
		view, err = c.ExplorePs()
	case "fds", "fd":
		view, err = c.ExploreFds()
	case "mems", "mem":
		view, err = c.ExploreMems()
	case "rss":
		view, err = c.ExploreRss()
	case "sk":
		view, err = c.ExploreSk()
	default:
		return errUsage
	}
	if err != nil {
		return err
	}
	return show(view)
}

func show(view any) error {
	text, err := json.MarshalIndent(view, "", "    ")
	if err != nil {
		return err
	}
	fmt.Println(string(text))
	return nil
}

// GetEntryTypeFromImg returns an empty entry of the kind that an image has.
func GetEntryTypeFromImg(imgFile *os.File) (proto.Message, error) {
	name, err := crit.ReadMagic(imgFile)
	if err != nil {
		return nil, err
	}
	return crit.EntryType(name)
}

// GetEntryTypeFromJSON returns an empty entry of the kind that an image has that is JSON.
func GetEntryTypeFromJSON(jsonFile *os.File) (proto.Message, error) {
	data, err := io.ReadAll(io.NewSectionReader(jsonFile, 0, 1<<40))
	if err != nil {
		return nil, err
	}
	var img struct{ Magic string }
	if err := json.Unmarshal(data, &img); err != nil {
		return nil, err
	}
	return crit.EntryType(img.Magic)
}
