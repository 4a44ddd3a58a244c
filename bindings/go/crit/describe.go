package crit

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/checkpoint-restore/go-criu/v8/crit/images/vma"
)

// fileName is the path or description of a file; an entry that is missing is said.
func (c *checkpoint) fileName(id uint32) string {
	f := c.files[id]
	switch {
	case f == nil:
		return fmt.Sprintf("(no file %d)", id)
	case f.Reg != nil:
		return f.Reg.GetName()
	case f.Pipe != nil:
		return fmt.Sprintf("pipe:[%d]", f.Pipe.GetPipeId())
	case f.Fifo != nil:
		return fmt.Sprintf("fifo:[%d]", f.Fifo.GetPipeId())
	case f.Usk != nil:
		return strings.TrimSpace(fmt.Sprintf("unix:[%d -> %d] %s", f.Usk.GetIno(), f.Usk.GetPeer(), unixName(f.Usk.Name)))
	case f.Isk != nil:
		s := f.Isk
		return fmt.Sprintf("%s %s:%d -> %s:%d", protocol(s.GetProto()), address(s.SrcAddr), s.GetSrcPort(), address(s.DstAddr), s.GetDstPort())
	case f.Tty != nil:
		return fmt.Sprintf("tty:[%d]", f.Tty.GetTtyInfoId())
	case f.Memfd != nil:
		return fmt.Sprintf("memfd:[%d]", f.Memfd.GetInodeId())
	case f.Pidfd != nil:
		return fmt.Sprintf("pidfd of %d", f.Pidfd.GetNspid())
	}
	return strings.ToLower(f.GetType().String())
}

// unixName shows an abstract name with @ before it.
func unixName(name []byte) string {
	if len(name) > 0 && name[0] == 0 {
		return "@" + printable(name[1:])
	}
	return printable([]byte(strings.TrimSuffix(string(name), "\x00")))
}

// printable has a dot in place of what cannot be printed.
func printable(bytes []byte) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == '\ufffd' {
			return '.'
		}
		return r
	}, strings.ToValidUTF8(string(bytes), "."))
}

// address shows words in network order.
func address(words []uint32) string {
	var bytes []byte
	for _, w := range words {
		bytes = append(bytes, byte(w), byte(w>>8), byte(w>>16), byte(w>>24))
	}
	if a, ok := netip.AddrFromSlice(bytes); ok {
		return a.String()
	}
	return "?"
}

func protocol(number uint32) string {
	if name := nameOf(uint64(number), dictionaries["sk.proto"]); name != "" {
		return name
	}
	return fmt.Sprint(number)
}

// Bits of an area's status.
const (
	areaStack     = 1 << 1
	areaVsyscall  = 1 << 2
	areaVdso      = 1 << 3
	areaHeap      = 1 << 5
	filePrivate   = 1 << 6
	fileShared    = 1 << 7
	anonShared    = 1 << 8
	areaSysV      = 1 << 10
	areaPacket    = 1 << 11
	areaVvar      = 1 << 12
	areaAioRing   = 1 << 13
	areaMemfd     = 1 << 14
	sharedMapping = fileShared | anonShared
)

// resource names what an area is, or what it maps.
func (c *checkpoint) resource(v *vma.VmaEntry) string {
	status := v.GetStatus()
	for _, kind := range []struct {
		bit  uint32
		name string
	}{
		{areaStack, "[stack]"}, {areaVsyscall, "[vsyscall]"}, {areaVdso, "[vdso]"}, {areaHeap, "[heap]"}, {areaVvar, "[vvar]"},
		{areaSysV, "SysV shared memory"}, {areaAioRing, "AIO ring"}, {areaPacket, "packet socket"},
	} {
		if status&kind.bit != 0 {
			return kind.name
		}
	}
	switch {
	case status&(filePrivate|fileShared) != 0:
		return c.fileName(uint32(v.GetShmid()))
	case status&anonShared != 0:
		return fmt.Sprintf("shared memory %d", v.GetShmid())
	}
	return ""
}

func protection(v *vma.VmaEntry) string {
	text := []byte("---p")
	for i, letter := range []byte("rwx") {
		if v.GetProt()&(1<<i) != 0 {
			text[i] = letter
		}
	}
	if v.GetStatus()&sharedMapping != 0 {
		text[3] = 's'
	}
	return string(text)
}
