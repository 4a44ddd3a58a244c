// Package magic has the numbers that image files begin with.
package magic

// MagicMap finds a magic by its name, and the name by the magic.
type MagicMap struct {
	ByName  map[string]uint64
	ByValue map[uint64]string
}

// LoadMagic returns all magics. A number that stands for several names has the one that images are shown by.
func LoadMagic() MagicMap {
	m := MagicMap{ByName: make(map[string]uint64, len(table)), ByValue: make(map[uint64]string, len(table))}
	for _, row := range table {
		m.ByName[row.name] = row.value
		if _, taken := m.ByValue[row.value]; !taken {
			m.ByValue[row.value] = row.name
		}
	}
	return m
}

// The first four bytes of most images and of statistics; the magic of what they hold follows.
const (
	Common  = 0x54564319
	Service = 0x55105940
)

var table = []struct {
	name  string
	value uint64
}{
	{"IMG_COMMON", Common},
	{"IMG_SERVICE", Service},
	{"INVENTORY", 0x58313116},
	{"FDINFO", 0x56213732},
	{"PAGEMAP", 0x56084025},
	{"SHMEM_PAGEMAP", 0x56084025},
	{"REG_FILES", 0x50363636},
	{"EXT_FILES", 0x59255641},
	{"NS_FILES", 0x61394011},
	{"EVENTFD_FILE", 0x44523722},
	{"EVENTPOLL_FILE", 0x45023858},
	{"EVENTPOLL_TFD", 0x44433746},
	{"SIGNALFD", 0x57323820},
	{"INOTIFY_FILE", 0x48424431},
	{"INOTIFY_WD", 0x54562009},
	{"FANOTIFY_FILE", 0x55096122},
	{"FANOTIFY_MARK", 0x56506035},
	{"CORE", 0x55053847},
	{"IDS", 0x54432030},
	{"MM", 0x57492820},
	{"VMAS", 0x54123737},
	{"PIPES", 0x56513555},
	{"PIPES_DATA", 0x56453709},
	{"FIFO", 0x58364939},
	{"FIFO_DATA", 0x59333054},
	{"PSTREE", 0x50273030},
	{"SIGACT", 0x55344201},
	{"UNIXSK", 0x54373943},
	{"INETSK", 0x56443851},
	{"PACKETSK", 0x60454618},
	{"NETLINK_SK", 0x58005614},
	{"SK_QUEUES", 0x56264026},
	{"ITIMERS", 0x57464056},
	{"POSIX_TIMERS", 0x52603957},
	{"CREDS", 0x54023547},
	{"UTSNS", 0x54473203},
	{"IPC_VAR", 0x53115007},
	{"IPCNS_SHM", 0x46283044},
	{"IPCNS_MSG", 0x55453737},
	{"IPCNS_SEM", 0x59573019},
	{"FS", 0x51403912},
	{"REMAP_FPATH", 0x59133954},
	{"GHOST_FILE", 0x52583605},
	{"MEMFD_INODE", 0x48453499},
	{"TCP_STREAM", 0x51465506},
	{"MNTS", 0x55563928},
	{"NETDEV", 0x57373951},
	{"NETNS", 0x55933752},
	{"AUTOFS", 0x49353943},
	{"BINFMT_MISC_OLD", 0x67343323},
	{"BINFMT_MISC", 0x67343323},
	{"TTY_FILES", 0x59433025},
	{"TTY_INFO", 0x59453036},
	{"TTY_DATA", 0x59413026},
	{"FILE_LOCKS", 0x54323616},
	{"RLIMIT", 0x57113925},
	{"PAGES_OLD", 0x56084025},
	{"SHM_PAGES_OLD", 0x56084025},
	{"SIGNAL", 0x59255647},
	{"PSIGNAL", 0x59255647},
	{"TUNFILE", 0x57143751},
	{"CGROUP", 0x59383330},
	{"TIMERFD", 0x50493712},
	{"CPUINFO", 0x61404013},
	{"SECCOMP", 0x64413049},
	{"USERNS", 0x55474906},
	{"FILES", 0x56303138},
	{"TIMENS", 0x43114433},
	{"PIDNS", 0x61157326},
	{"BPFMAP_FILE", 0x57506142},
	{"BPFMAP_DATA", 0x64324033},
	{"APPARMOR", 0x59423047},
	{"PIDFD", 0x54435556},
	{"STATS", 0x57093306},
	{"IRMAP_CACHE", 0x57004059},
}
