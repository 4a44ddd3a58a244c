// Package stats reads the statistics that a dump or a restore leaves in its work directory.
package stats

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"

	"google.golang.org/protobuf/proto"
)

// Files of statistics.
const (
	StatsDump    = "stats-dump"
	StatsRestore = "stats-restore"
)

// What such a file begins with, and where: two magics, the size of the message, the message.
const (
	ImgServiceMagic = 0x55105940
	StatsMagic      = 0x57093306

	PrimaryMagicOffset   = 0x0
	SecondaryMagicOffset = 0x4
	SizeOffset           = 0x8
	PayloadOffset        = 0xC
)

const maxBytes = 1 << 20

// CriuGetDumpStats reads the statistics of the dump into imgDir.
func CriuGetDumpStats(imgDir *os.File) (*DumpStatsEntry, error) {
	entry, err := read(imgDir, StatsDump)
	if err == nil && entry.GetDump() == nil {
		err = fmt.Errorf("%s/%s: it has no statistics of a dump", imgDir.Name(), StatsDump)
	}
	return entry.GetDump(), err
}

// CriuGetRestoreStats reads the statistics of the restore from imgDir.
func CriuGetRestoreStats(imgDir *os.File) (*RestoreStatsEntry, error) {
	entry, err := read(imgDir, StatsRestore)
	if err == nil && entry.GetRestore() == nil {
		err = fmt.Errorf("%s/%s: it has no statistics of a restore", imgDir.Name(), StatsRestore)
	}
	return entry.GetRestore(), err
}

func read(dir *os.File, name string) (*StatsEntry, error) {
	path := dir.Name() + "/" + name
	fd, err := syscall.Openat(int(dir.Fd()), name, syscall.O_RDONLY|syscall.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	file := os.NewFile(uintptr(fd), path)
	defer file.Close() //nolint:errcheck // only read
	data, err := io.ReadAll(io.LimitReader(file, maxBytes+1))
	if err != nil {
		return nil, err
	}
	entry, err := parse(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return entry, nil
}

func parse(data []byte) (*StatsEntry, error) {
	if len(data) < PayloadOffset {
		return nil, fmt.Errorf("%d bytes are too few", len(data))
	}
	for _, magic := range []struct{ at, value uint32 }{{PrimaryMagicOffset, ImgServiceMagic}, {SecondaryMagicOffset, StatsMagic}} {
		if got := binary.LittleEndian.Uint32(data[magic.at:]); got != magic.value {
			return nil, fmt.Errorf("magic %#x at offset %d, not %#x", got, magic.at, magic.value)
		}
	}
	size := binary.LittleEndian.Uint32(data[SizeOffset:])
	if uint64(size) > uint64(len(data)-PayloadOffset) {
		return nil, errors.New("it is cut short")
	}
	entry := new(StatsEntry)
	return entry, proto.Unmarshal(data[PayloadOffset:PayloadOffset+size], entry)
}
