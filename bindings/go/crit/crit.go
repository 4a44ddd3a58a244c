// Package crit reads and writes images of checkpoints, and shows what is in them.
//
// An image is shown as JSON in the form of CRIU's own image tool, so that what either has written, the other reads; Write
// gives it byte for byte, CriuImage.MarshalJSON in one line.
package crit

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"

	"google.golang.org/protobuf/proto"
)

// Critter is what can be done with images. New makes one.
type Critter interface {
	// Decode reads an image; its entries are of the type of entryType (nil: the one that goes with the image's magic).
	Decode(entryType proto.Message) (*CriuImage, error)
	// Info counts an image's entries: the number is the Extra of the only entry returned.
	Info() (*CriuImage, error)
	// Parse reads an image that is JSON.
	Parse(entryType proto.Message) (*CriuImage, error)
	// Encode writes an image.
	Encode(img *CriuImage) error
	// ExplorePs shows the tree of processes.
	ExplorePs() (*PsTree, error)
	// ExploreFds shows the files that processes have open.
	ExploreFds() ([]*Fd, error)
	// ExploreMems shows the memory areas of processes.
	ExploreMems() ([]*MemMap, error)
	// ExploreRss shows the pages that were saved.
	ExploreRss() ([]*RssMap, error)
	// ExploreSk shows sockets.
	ExploreSk() ([]*Sk, error)
}

type critter struct {
	in, out   *os.File
	dir       string
	pretty    bool
	noPayload bool
}

// New makes a Critter that reads from in, writes to out, and explores the images in dir; what is not needed may be nil or
// empty. With pretty, what it writes as JSON is indented; with noPayload, sizes stand in place of raw contents.
func New(in, out *os.File, dir string, pretty, noPayload bool) Critter {
	return &critter{in, out, dir, pretty, noPayload}
}

// CriuImage is the content of an image file.
type CriuImage struct {
	Magic     string        `json:"magic"`
	Entries   []*CriuEntry  `json:"entries"`
	EntryType proto.Message `json:"-"`
}

// CriuEntry is an entry of an image, and what follows it in the file: base64, or JSON where it has parts.
type CriuEntry struct {
	proto.Message
	Extra string
}

func (c *critter) input() ([]byte, string, error) {
	if c.in == nil {
		return nil, "", errors.New("crit: there is no input file")
	}
	data, err := io.ReadAll(c.in)
	return data, c.in.Name(), err
}

func (c *critter) Decode(entryType proto.Message) (*CriuImage, error) {
	data, name, err := c.input()
	if err != nil {
		return nil, err
	}
	return decode(name, data, entryType, c.noPayload)
}

func (c *critter) Info() (*CriuImage, error) {
	data, name, err := c.input()
	if err != nil {
		return nil, err
	}
	img, err := decode(name, data, nil, true)
	if err != nil {
		return nil, err
	}
	return &CriuImage{Magic: img.Magic, EntryType: img.EntryType, Entries: []*CriuEntry{{Extra: strconv.Itoa(len(img.Entries))}}}, nil
}

func (c *critter) Parse(entryType proto.Message) (*CriuImage, error) {
	data, name, err := c.input()
	if err != nil {
		return nil, err
	}
	img := &CriuImage{EntryType: entryType}
	if err := img.UnmarshalJSON(data); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return img, nil
}

func (c *critter) Encode(img *CriuImage) error {
	if c.out == nil {
		return errors.New("crit: there is no output file")
	}
	// All of it is made before any of it is written.
	data, err := encode(img)
	if err != nil {
		return err
	}
	_, err = c.out.Write(data)
	return err
}

// Write writes the image as JSON, indented if pretty, without a final newline.
func (img *CriuImage) Write(to io.Writer, pretty bool) error {
	p := &printer{pretty: pretty}
	if err := p.image(img); err != nil {
		return err
	}
	_, err := to.Write(p.out)
	return err
}

// MarshalJSON is Write in one line.
func (img *CriuImage) MarshalJSON() ([]byte, error) {
	p := &printer{}
	err := p.image(img)
	return p.out, err
}

// MarshalJSON gives the entry in one line.
func (e *CriuEntry) MarshalJSON() ([]byte, error) {
	p := &printer{}
	err := p.entry(e)
	return p.out, err
}

// Error tells where an image is wrong.
type Error struct {
	File   string
	Offset int // bytes from its start, also where the file is JSON
	Reason string
}

func (e *Error) Error() string {
	if e.File == "" {
		return fmt.Sprintf("offset %d: %s", e.Offset, e.Reason)
	}
	return fmt.Sprintf("%s: offset %d: %s", e.File, e.Offset, e.Reason)
}
