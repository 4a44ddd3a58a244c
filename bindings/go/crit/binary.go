package crit

import (
	"encoding/binary"
	"fmt"
	"os"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/checkpoint-restore/go-criu/v8/magic"
)

var magics = magic.LoadMagic()

// cursor reads an image that is in memory; nothing that it announces is believed before it is there.
type cursor struct {
	file string
	data []byte
	at   int
}

func (c *cursor) fail(at int, format string, args ...any) error {
	return &Error{File: c.file, Offset: at, Reason: fmt.Sprintf(format, args...)}
}

func (c *cursor) left() int { return len(c.data) - c.at }

func (c *cursor) take(n uint64) ([]byte, error) {
	if n > uint64(c.left()) {
		return nil, c.fail(c.at, "%d bytes are announced, %d are left", n, c.left())
	}
	bytes := c.data[c.at : c.at+int(n)]
	c.at += int(n)
	return bytes, nil
}

func (c *cursor) u32() (uint32, error) {
	bytes, err := c.take(4)
	if err != nil {
		return 0, err
	}
	return binary.LittleEndian.Uint32(bytes), nil
}

// magic reads an image's magics and returns the name of its own.
func (c *cursor) magic() (string, error) {
	number, err := c.u32()
	if err != nil {
		return "", c.fail(0, "too short for a magic")
	}
	lead := number
	if lead == magic.Common || lead == magic.Service {
		if number, err = c.u32(); err != nil {
			return "", c.fail(4, "too short for the magic of its type")
		}
	}
	name, known := magics.ByValue[uint64(number)]
	if !known || name == "IMG_COMMON" || name == "IMG_SERVICE" {
		return "", c.fail(c.at-4, "magic %#x is of no image", number)
	}
	if lead == magic.Common && isService(name) || lead == magic.Service && !isService(name) {
		return "", c.fail(0, "magic %#x does not go with %s", lead, name)
	}
	return name, nil
}

func isService(name string) bool { return name == "STATS" || name == "IRMAP_CACHE" }

// ReadMagic reads an image's magics from f and returns the name of its own.
func ReadMagic(f *os.File) (string, error) {
	lead := make([]byte, 8)
	n, err := f.ReadAt(lead, 0)
	if n < 4 {
		return "", fmt.Errorf("%s: too short for a magic: %w", f.Name(), err)
	}
	c := &cursor{file: f.Name(), data: lead[:n]}
	return c.magic()
}

func decode(file string, data []byte, entryType proto.Message, noPayload bool) (*CriuImage, error) {
	c := &cursor{file: file, data: data}
	name, err := c.magic()
	if err != nil {
		return nil, err
	}
	img := &CriuImage{Magic: name, EntryType: entryType}
	if entryType == nil {
		if img.EntryType, err = newEntry(name, false); err != nil {
			return nil, err
		}
	}
	for c.left() > 0 {
		entry, err := c.entry(img, noPayload)
		if err != nil {
			return nil, err
		}
		img.Entries = append(img.Entries, entry)
	}
	return img, nil
}

// newEntry is an empty entry of an image; the first may be another one.
func newEntry(name string, first bool) (proto.Message, error) {
	if head, ok := heads[name]; ok && first {
		return head(), nil
	}
	make, ok := messages[name]
	if !ok {
		return nil, fmt.Errorf("crit: magic %q is of no image", name)
	}
	return make(), nil
}

// next is an empty message for the next entry of img.
func (img *CriuImage) next() (proto.Message, error) {
	first := len(img.Entries) == 0
	if _, headed := heads[img.Magic]; headed || img.EntryType == nil {
		return newEntry(img.Magic, first)
	}
	return img.EntryType.ProtoReflect().New().Interface(), nil
}

func (c *cursor) message(into proto.Message) error {
	start := c.at
	size, err := c.u32()
	if err != nil {
		return c.fail(start, "%d stray bytes at the end", c.left())
	}
	body, err := c.take(uint64(size))
	if err != nil {
		return c.fail(start, "an entry of %d bytes, %d are left", size, c.left())
	}
	if err := proto.Unmarshal(body, into); err != nil {
		return c.fail(start, "no %s: %v", into.ProtoReflect().Descriptor().Name(), err)
	}
	return nil
}

func (c *cursor) entry(img *CriuImage, noPayload bool) (*CriuEntry, error) {
	message, err := img.next()
	if err != nil {
		return nil, err
	}
	if err := c.message(message); err != nil {
		return nil, err
	}
	entry := &CriuEntry{Message: message}
	entry.Extra, err = c.extra(img.Magic, len(img.Entries) == 0, message.ProtoReflect(), noPayload)
	return entry, err
}

func encode(img *CriuImage) ([]byte, error) {
	number, known := magics.ByName[img.Magic]
	if _, is := messages[img.Magic]; !is || !known {
		return nil, fmt.Errorf("crit: magic %q is of no image", img.Magic)
	}
	var out []byte
	switch {
	case isService(img.Magic):
		out = binary.LittleEndian.AppendUint32(out, magic.Service)
	case img.Magic != "INVENTORY":
		out = binary.LittleEndian.AppendUint32(out, magic.Common)
	}
	out = binary.LittleEndian.AppendUint32(out, uint32(number))
	for i, entry := range img.Entries {
		if entry == nil || entry.Message == nil {
			return nil, fmt.Errorf("crit: entry %d of %s holds no message", i, img.Magic)
		}
		var err error
		if out, err = appendMessage(out, entry.Message); err != nil {
			return nil, fmt.Errorf("crit: entry %d of %s: %w", i, img.Magic, err)
		}
		if out, err = appendExtra(out, img.Magic, i == 0, entry); err != nil {
			return nil, fmt.Errorf("crit: entry %d of %s: %w", i, img.Magic, err)
		}
	}
	return out, nil
}

func appendMessage(out []byte, message proto.Message) ([]byte, error) {
	body, err := proto.MarshalOptions{Deterministic: true}.Marshal(message)
	if err != nil {
		return nil, err
	}
	out = binary.LittleEndian.AppendUint32(out, uint32(len(body)))
	return append(out, body...), nil
}

// number is the value of a numeric or boolean field, 0 when it is not there.
func number(m protoreflect.Message, name protoreflect.Name) uint64 {
	field := m.Descriptor().Fields().ByName(name)
	if field == nil {
		return 0
	}
	switch v := m.Get(field); field.Kind() {
	case protoreflect.BoolKind:
		if v.Bool() {
			return 1
		}
		return 0
	case protoreflect.Uint32Kind, protoreflect.Uint64Kind, protoreflect.Fixed32Kind, protoreflect.Fixed64Kind:
		return v.Uint()
	case protoreflect.Int32Kind, protoreflect.Int64Kind, protoreflect.Sint32Kind, protoreflect.Sint64Kind:
		return uint64(v.Int())
	}
	return 0
}

// EntryType is an empty entry of an image of this magic ("CORE").
func EntryType(magic string) (proto.Message, error) { return newEntry(magic, false) }
