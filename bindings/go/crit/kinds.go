package crit

import (
	"google.golang.org/protobuf/proto"

	"github.com/checkpoint-restore/go-criu/v8/crit/images/apparmor"
	"github.com/checkpoint-restore/go-criu/v8/crit/images/autofs"
	binfmt_misc "github.com/checkpoint-restore/go-criu/v8/crit/images/binfmt-misc"
	bpfmap_data "github.com/checkpoint-restore/go-criu/v8/crit/images/bpfmap-data"
	bpfmap_file "github.com/checkpoint-restore/go-criu/v8/crit/images/bpfmap-file"
	"github.com/checkpoint-restore/go-criu/v8/crit/images/cgroup"
	"github.com/checkpoint-restore/go-criu/v8/crit/images/cpuinfo"
	"github.com/checkpoint-restore/go-criu/v8/crit/images/creds"
	criu_core "github.com/checkpoint-restore/go-criu/v8/crit/images/criu-core"
	criu_sa "github.com/checkpoint-restore/go-criu/v8/crit/images/criu-sa"
	"github.com/checkpoint-restore/go-criu/v8/crit/images/eventfd"
	"github.com/checkpoint-restore/go-criu/v8/crit/images/eventpoll"
	ext_file "github.com/checkpoint-restore/go-criu/v8/crit/images/ext-file"
	"github.com/checkpoint-restore/go-criu/v8/crit/images/fdinfo"
	"github.com/checkpoint-restore/go-criu/v8/crit/images/fh"
	"github.com/checkpoint-restore/go-criu/v8/crit/images/fifo"
	file_lock "github.com/checkpoint-restore/go-criu/v8/crit/images/file-lock"
	"github.com/checkpoint-restore/go-criu/v8/crit/images/fs"
	"github.com/checkpoint-restore/go-criu/v8/crit/images/fsnotify"
	ghost_file "github.com/checkpoint-restore/go-criu/v8/crit/images/ghost-file"
	"github.com/checkpoint-restore/go-criu/v8/crit/images/inventory"
	ipc_msg "github.com/checkpoint-restore/go-criu/v8/crit/images/ipc-msg"
	ipc_sem "github.com/checkpoint-restore/go-criu/v8/crit/images/ipc-sem"
	ipc_shm "github.com/checkpoint-restore/go-criu/v8/crit/images/ipc-shm"
	ipc_var "github.com/checkpoint-restore/go-criu/v8/crit/images/ipc-var"
	"github.com/checkpoint-restore/go-criu/v8/crit/images/memfd"
	"github.com/checkpoint-restore/go-criu/v8/crit/images/mm"
	"github.com/checkpoint-restore/go-criu/v8/crit/images/mnt"
	"github.com/checkpoint-restore/go-criu/v8/crit/images/netdev"
	"github.com/checkpoint-restore/go-criu/v8/crit/images/ns"
	packet_sock "github.com/checkpoint-restore/go-criu/v8/crit/images/packet-sock"
	"github.com/checkpoint-restore/go-criu/v8/crit/images/pagemap"
	"github.com/checkpoint-restore/go-criu/v8/crit/images/pidfd"
	"github.com/checkpoint-restore/go-criu/v8/crit/images/pidns"
	"github.com/checkpoint-restore/go-criu/v8/crit/images/pipe"
	pipe_data "github.com/checkpoint-restore/go-criu/v8/crit/images/pipe-data"
	"github.com/checkpoint-restore/go-criu/v8/crit/images/pstree"
	"github.com/checkpoint-restore/go-criu/v8/crit/images/regfile"
	remap_file_path "github.com/checkpoint-restore/go-criu/v8/crit/images/remap-file-path"
	"github.com/checkpoint-restore/go-criu/v8/crit/images/rlimit"
	"github.com/checkpoint-restore/go-criu/v8/crit/images/seccomp"
	"github.com/checkpoint-restore/go-criu/v8/crit/images/siginfo"
	"github.com/checkpoint-restore/go-criu/v8/crit/images/signalfd"
	sk_inet "github.com/checkpoint-restore/go-criu/v8/crit/images/sk-inet"
	sk_netlink "github.com/checkpoint-restore/go-criu/v8/crit/images/sk-netlink"
	sk_packet "github.com/checkpoint-restore/go-criu/v8/crit/images/sk-packet"
	sk_unix "github.com/checkpoint-restore/go-criu/v8/crit/images/sk-unix"
	"github.com/checkpoint-restore/go-criu/v8/crit/images/stats"
	tcp_stream "github.com/checkpoint-restore/go-criu/v8/crit/images/tcp-stream"
	"github.com/checkpoint-restore/go-criu/v8/crit/images/timens"
	"github.com/checkpoint-restore/go-criu/v8/crit/images/timer"
	"github.com/checkpoint-restore/go-criu/v8/crit/images/timerfd"
	"github.com/checkpoint-restore/go-criu/v8/crit/images/tty"
	"github.com/checkpoint-restore/go-criu/v8/crit/images/tun"
	"github.com/checkpoint-restore/go-criu/v8/crit/images/userns"
	"github.com/checkpoint-restore/go-criu/v8/crit/images/utsns"
	"github.com/checkpoint-restore/go-criu/v8/crit/images/vma"
)

// messages makes an empty entry of an image by the image's magic. The first entry of some is another one; see heads.
var messages = map[string]func() proto.Message{
	"INVENTORY":      func() proto.Message { return new(inventory.InventoryEntry) },
	"FDINFO":         func() proto.Message { return new(fdinfo.FdinfoEntry) },
	"PAGEMAP":        func() proto.Message { return new(pagemap.PagemapEntry) },
	"REG_FILES":      func() proto.Message { return new(regfile.RegFileEntry) },
	"EXT_FILES":      func() proto.Message { return new(ext_file.ExtFileEntry) },
	"NS_FILES":       func() proto.Message { return new(ns.NsFileEntry) },
	"EVENTFD_FILE":   func() proto.Message { return new(eventfd.EventfdFileEntry) },
	"EVENTPOLL_FILE": func() proto.Message { return new(eventpoll.EventpollFileEntry) },
	"EVENTPOLL_TFD":  func() proto.Message { return new(eventpoll.EventpollTfdEntry) },
	"SIGNALFD":       func() proto.Message { return new(signalfd.SignalfdEntry) },
	"INOTIFY_FILE":   func() proto.Message { return new(fsnotify.InotifyFileEntry) },
	"INOTIFY_WD":     func() proto.Message { return new(fsnotify.InotifyWdEntry) },
	"FANOTIFY_FILE":  func() proto.Message { return new(fsnotify.FanotifyFileEntry) },
	"FANOTIFY_MARK":  func() proto.Message { return new(fsnotify.FanotifyMarkEntry) },
	"CORE":           func() proto.Message { return new(criu_core.CoreEntry) },
	"IDS":            func() proto.Message { return new(criu_core.TaskKobjIdsEntry) },
	"MM":             func() proto.Message { return new(mm.MmEntry) },
	"VMAS":           func() proto.Message { return new(vma.VmaEntry) },
	"PIPES":          func() proto.Message { return new(pipe.PipeEntry) },
	"PIPES_DATA":     func() proto.Message { return new(pipe_data.PipeDataEntry) },
	"FIFO":           func() proto.Message { return new(fifo.FifoEntry) },
	"FIFO_DATA":      func() proto.Message { return new(pipe_data.PipeDataEntry) },
	"PSTREE":         func() proto.Message { return new(pstree.PstreeEntry) },
	"SIGACT":         func() proto.Message { return new(criu_sa.SaEntry) },
	"UNIXSK":         func() proto.Message { return new(sk_unix.UnixSkEntry) },
	"INETSK":         func() proto.Message { return new(sk_inet.InetSkEntry) },
	"PACKETSK":       func() proto.Message { return new(packet_sock.PacketSockEntry) },
	"NETLINK_SK":     func() proto.Message { return new(sk_netlink.NetlinkSkEntry) },
	"SK_QUEUES":      func() proto.Message { return new(sk_packet.SkPacketEntry) },
	"ITIMERS":        func() proto.Message { return new(timer.ItimerEntry) },
	"POSIX_TIMERS":   func() proto.Message { return new(timer.PosixTimerEntry) },
	"CREDS":          func() proto.Message { return new(creds.CredsEntry) },
	"UTSNS":          func() proto.Message { return new(utsns.UtsnsEntry) },
	"IPC_VAR":        func() proto.Message { return new(ipc_var.IpcVarEntry) },
	"IPCNS_SHM":      func() proto.Message { return new(ipc_shm.IpcShmEntry) },
	"IPCNS_MSG":      func() proto.Message { return new(ipc_msg.IpcMsgEntry) },
	"IPCNS_SEM":      func() proto.Message { return new(ipc_sem.IpcSemEntry) },
	"FS":             func() proto.Message { return new(fs.FsEntry) },
	"REMAP_FPATH":    func() proto.Message { return new(remap_file_path.RemapFilePathEntry) },
	"GHOST_FILE":     func() proto.Message { return new(ghost_file.GhostChunkEntry) },
	"MEMFD_INODE":    func() proto.Message { return new(memfd.MemfdInodeEntry) },
	"TCP_STREAM":     func() proto.Message { return new(tcp_stream.TcpStreamEntry) },
	"MNTS":           func() proto.Message { return new(mnt.MntEntry) },
	"NETDEV":         func() proto.Message { return new(netdev.NetDeviceEntry) },
	"NETNS":          func() proto.Message { return new(netdev.NetnsEntry) },
	"AUTOFS":         func() proto.Message { return new(autofs.AutofsEntry) },
	"BINFMT_MISC":    func() proto.Message { return new(binfmt_misc.BinfmtMiscEntry) },
	"TTY_FILES":      func() proto.Message { return new(tty.TtyFileEntry) },
	"TTY_INFO":       func() proto.Message { return new(tty.TtyInfoEntry) },
	"TTY_DATA":       func() proto.Message { return new(tty.TtyDataEntry) },
	"FILE_LOCKS":     func() proto.Message { return new(file_lock.FileLockEntry) },
	"RLIMIT":         func() proto.Message { return new(rlimit.RlimitEntry) },
	"SIGNAL":         func() proto.Message { return new(siginfo.SignalQueueEntry) },
	"PSIGNAL":        func() proto.Message { return new(siginfo.SignalQueueEntry) },
	"TUNFILE":        func() proto.Message { return new(tun.TunfileEntry) },
	"CGROUP":         func() proto.Message { return new(cgroup.CgroupEntry) },
	"TIMERFD":        func() proto.Message { return new(timerfd.TimerfdEntry) },
	"CPUINFO":        func() proto.Message { return new(cpuinfo.CpuinfoEntry) },
	"SECCOMP":        func() proto.Message { return new(seccomp.SeccompEntry) },
	"USERNS":         func() proto.Message { return new(userns.UsernsEntry) },
	"FILES":          func() proto.Message { return new(fdinfo.FileEntry) },
	"TIMENS":         func() proto.Message { return new(timens.TimensEntry) },
	"PIDNS":          func() proto.Message { return new(pidns.PidnsEntry) },
	"BPFMAP_FILE":    func() proto.Message { return new(bpfmap_file.BpfmapFileEntry) },
	"BPFMAP_DATA":    func() proto.Message { return new(bpfmap_data.BpfmapDataEntry) },
	"APPARMOR":       func() proto.Message { return new(apparmor.ApparmorEntry) },
	"PIDFD":          func() proto.Message { return new(pidfd.PidfdEntry) },
	"STATS":          func() proto.Message { return new(stats.StatsEntry) },
	"IRMAP_CACHE":    func() proto.Message { return new(fh.IrmapCacheEntry) },
}

// heads makes the first entry of an image, where that is no entry as the others.
var heads = map[string]func() proto.Message{
	"PAGEMAP":    func() proto.Message { return new(pagemap.PagemapHead) },
	"GHOST_FILE": func() proto.Message { return new(ghost_file.GhostFileEntry) },
}
