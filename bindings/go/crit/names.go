package crit

import (
	"fmt"
	"strings"
)

// namedValue is a flag, or a value that has a name.
type namedValue struct {
	name  string
	value uint64
}

// flagNames are the flags of fields, by the tables that their options name, as CRIU's tool spells them. Open flags have the values
// of x86.
var flagNames = map[string][]namedValue{
	"mmap.prot": {
		{"PROT_READ", 0x1},
		{"PROT_WRITE", 0x2},
		{"PROT_EXEC", 0x4},
	},
	"mmap.flags": {
		{"MAP_SHARED", 0x1},
		{"MAP_PRIVATE", 0x2},
		{"MAP_ANON", 0x20},
		{"MAP_GROWSDOWN", 0x100},
	},
	"mmap.status": {
		{"VMA_AREA_REGULAR", 1 << 0},
		{"VMA_AREA_STACK", 1 << 1},
		{"VMA_AREA_VSYSCALL", 1 << 2},
		{"VMA_AREA_VDSO", 1 << 3},
		{"VMA_AREA_HEAP", 1 << 5},
		{"VMA_FILE_PRIVATE", 1 << 6},
		{"VMA_FILE_SHARED", 1 << 7},
		{"VMA_ANON_SHARED", 1 << 8},
		{"VMA_ANON_PRIVATE", 1 << 9},
		{"VMA_AREA_SYSVIPC", 1 << 10},
		{"VMA_AREA_SOCKET", 1 << 11},
		{"VMA_AREA_VVAR", 1 << 12},
		{"VMA_AREA_AIORING", 1 << 13},
		{"VMA_AREA_MEMFD", 1 << 14},
		{"VMA_AREA_SHSTK", 1 << 15},
		{"VMA_AREA_GUARD", 1 << 16},
		{"VMA_AREA_UPROBES", 1 << 17},
		{"VMA_EXT_PLUGIN", 1 << 27},
		{"VMA_UNSUPP", 1 << 31},
	},
	"rfile.flags": {
		{"O_WRONLY", 0o1},
		{"O_RDWR", 0o2},
		{"O_CREAT", 0o100},
		{"O_EXCL", 0o200},
		{"O_NOCTTY", 0o400},
		{"O_TRUNC", 0o1000},
		{"O_APPEND", 0o2000},
		{"O_NONBLOCK", 0o4000},
		{"O_DSYNC", 0o10000},
		{"FASYNC", 0o20000},
		{"O_DIRECT", 0o40000},
		{"O_LARGEFILE", 0o100000},
		{"O_DIRECTORY", 0o200000},
		{"O_NOFOLLOW", 0o400000},
		{"O_NOATIME", 0o1000000},
	},
	"pmap.flags": {
		{"PE_PARENT", 0x1},
		{"PE_LAZY", 0x2},
		{"PE_PRESENT", 0x4},
	},
	"seals.flags": {
		{"F_SEAL_SEAL", 0x1},
		{"F_SEAL_SHRINK", 0x2},
		{"F_SEAL_GROW", 0x4},
		{"F_SEAL_WRITE", 0x8},
		{"F_SEAL_FUTURE_WRITE", 0x10},
	},
}

// dictionaries are the names of values, by table and field. CRIU's tool swaps the labels of the states 3 (stopped) and 6 (zombie); its
// JSON has to become the same images here.
var dictionaries = map[string][]namedValue{
	"gen.task_state": {
		{"Alive", 1},
		{"Zombie", 3},
		{"Stopped", 6},
	},
	"sk.family": {
		{"UNIX", 1},
		{"INET", 2},
		{"INET6", 10},
	},
	"sk.type": {
		{"STREAM", 1},
		{"DGRAM", 2},
		{"RAW", 3},
		{"SEQPACKET", 5},
		{"PACKET", 10},
	},
	"sk.state": {
		{"ESTABLISHED", 1},
		{"SYN_SENT", 2},
		{"SYN_RECV", 3},
		{"FIN_WAIT1", 4},
		{"FIN_WAIT2", 5},
		{"TIME_WAIT", 6},
		{"CLOSE", 7},
		{"CLOSE_WAIT", 8},
		{"LAST_ACK", 9},
		{"LISTEN", 10},
	},
	"sk.proto": {
		{"IP", 0},
		{"TCP", 6},
		{"UDP", 17},
		{"UDPLITE", 136},
	},
}

func nameOf(value uint64, names []namedValue) string {
	for _, n := range names {
		if n.value == value {
			return n.name
		}
	}
	return ""
}

func valueOf(name string, names []namedValue) (uint64, bool) {
	for _, n := range names {
		if n.name == name {
			return n.value, true
		}
	}
	return 0, false
}

// toFlags joins the names of flags; what has none is one hexadecimal number.
func toFlags(value uint64, names []namedValue) string {
	var words []string
	for _, n := range names {
		if value&n.value == n.value {
			words = append(words, n.name)
			value &^= n.value
		}
	}
	if value != 0 {
		words = append(words, fmt.Sprintf("%#x", value))
	}
	return strings.Join(words, " | ")
}
