//! Every kind of image file: its magic and its name.

use std::fmt;

/// What every image but the inventory starts with.
pub(crate) const COMMON_MAGIC: u32 = 0x5456_4319;
/// What statistics and the irmap cache start with instead.
pub(crate) const SERVICE_MAGIC: u32 = 0x5510_5940;

/// A kind of image file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum Kind {
    Inventory,
    Fdinfo,
    Pagemap,
    ShmemPagemap,
    RegFiles,
    ExtFiles,
    NsFiles,
    EventfdFile,
    EventpollFile,
    EventpollTfd,
    Signalfd,
    InotifyFile,
    InotifyWd,
    FanotifyFile,
    FanotifyMark,
    Core,
    Ids,
    Mm,
    Vmas,
    Pipes,
    PipesData,
    Fifo,
    FifoData,
    Pstree,
    Sigact,
    Unixsk,
    Inetsk,
    Packetsk,
    NetlinkSk,
    SkQueues,
    Itimers,
    PosixTimers,
    Creds,
    Utsns,
    IpcVar,
    IpcnsShm,
    IpcnsMsg,
    IpcnsSem,
    Fs,
    RemapFpath,
    GhostFile,
    MemfdInode,
    TcpStream,
    Mnts,
    Netdev,
    Netns,
    Ifaddr,
    Route,
    Route6,
    Rule,
    Iptables,
    Ip6tables,
    Nftables,
    TmpfsImg,
    TmpfsDev,
    Autofs,
    BinfmtMiscOld,
    BinfmtMisc,
    TtyFiles,
    TtyInfo,
    TtyData,
    FileLocks,
    Rlimit,
    Pages,
    PagesOld,
    ShmPagesOld,
    Signal,
    Psignal,
    Tunfile,
    Cgroup,
    Timerfd,
    Cpuinfo,
    Seccomp,
    Userns,
    NetnfCt,
    NetnfExp,
    Files,
    Timens,
    Pidns,
    BpfmapFile,
    BpfmapData,
    Apparmor,
    Pidfd,
    Stats,
    IrmapCache,
}

/// One row of the table: the contract name, the file name's pattern (`%` stands for the id), the magic (0: raw bytes) and
/// the message of its entries (of all but the first in a pagemap, of the first alone in a ghost file; none in raw files).
struct Row {
    kind: Kind,
    name: &'static str,
    file: &'static str,
    magic: u32,
    entry: &'static str,
}

const ROWS: &[Row] = &[
    Row {
        kind: Kind::Inventory,
        name: "INVENTORY",
        file: "inventory.img",
        magic: 0x58313116,
        entry: "inventory_entry",
    },
    Row { kind: Kind::Fdinfo, name: "FDINFO", file: "fdinfo-%.img", magic: 0x56213732, entry: "fdinfo_entry" },
    Row { kind: Kind::Pagemap, name: "PAGEMAP", file: "pagemap-%.img", magic: 0x56084025, entry: "pagemap_entry" },
    Row {
        kind: Kind::ShmemPagemap,
        name: "SHMEM_PAGEMAP",
        file: "pagemap-shmem-%.img",
        magic: 0x56084025,
        entry: "pagemap_entry",
    },
    Row { kind: Kind::RegFiles, name: "REG_FILES", file: "reg-files.img", magic: 0x50363636, entry: "reg_file_entry" },
    Row { kind: Kind::ExtFiles, name: "EXT_FILES", file: "ext-files.img", magic: 0x59255641, entry: "ext_file_entry" },
    Row { kind: Kind::NsFiles, name: "NS_FILES", file: "ns-files.img", magic: 0x61394011, entry: "ns_file_entry" },
    Row {
        kind: Kind::EventfdFile,
        name: "EVENTFD_FILE",
        file: "eventfd.img",
        magic: 0x44523722,
        entry: "eventfd_file_entry",
    },
    Row {
        kind: Kind::EventpollFile,
        name: "EVENTPOLL_FILE",
        file: "eventpoll.img",
        magic: 0x45023858,
        entry: "eventpoll_file_entry",
    },
    Row {
        kind: Kind::EventpollTfd,
        name: "EVENTPOLL_TFD",
        file: "eventpoll-tfd.img",
        magic: 0x44433746,
        entry: "eventpoll_tfd_entry",
    },
    Row { kind: Kind::Signalfd, name: "SIGNALFD", file: "signalfd.img", magic: 0x57323820, entry: "signalfd_entry" },
    Row {
        kind: Kind::InotifyFile,
        name: "INOTIFY_FILE",
        file: "inotify.img",
        magic: 0x48424431,
        entry: "inotify_file_entry",
    },
    Row {
        kind: Kind::InotifyWd,
        name: "INOTIFY_WD",
        file: "inotify-wd.img",
        magic: 0x54562009,
        entry: "inotify_wd_entry",
    },
    Row {
        kind: Kind::FanotifyFile,
        name: "FANOTIFY_FILE",
        file: "fanotify.img",
        magic: 0x55096122,
        entry: "fanotify_file_entry",
    },
    Row {
        kind: Kind::FanotifyMark,
        name: "FANOTIFY_MARK",
        file: "fanotify-mark.img",
        magic: 0x56506035,
        entry: "fanotify_mark_entry",
    },
    Row { kind: Kind::Core, name: "CORE", file: "core-%.img", magic: 0x55053847, entry: "core_entry" },
    Row { kind: Kind::Ids, name: "IDS", file: "ids-%.img", magic: 0x54432030, entry: "task_kobj_ids_entry" },
    Row { kind: Kind::Mm, name: "MM", file: "mm-%.img", magic: 0x57492820, entry: "mm_entry" },
    Row { kind: Kind::Vmas, name: "VMAS", file: "vmas-%.img", magic: 0x54123737, entry: "vma_entry" },
    Row { kind: Kind::Pipes, name: "PIPES", file: "pipes.img", magic: 0x56513555, entry: "pipe_entry" },
    Row {
        kind: Kind::PipesData,
        name: "PIPES_DATA",
        file: "pipes-data.img",
        magic: 0x56453709,
        entry: "pipe_data_entry",
    },
    Row { kind: Kind::Fifo, name: "FIFO", file: "fifo.img", magic: 0x58364939, entry: "fifo_entry" },
    Row { kind: Kind::FifoData, name: "FIFO_DATA", file: "fifo-data.img", magic: 0x59333054, entry: "pipe_data_entry" },
    Row { kind: Kind::Pstree, name: "PSTREE", file: "pstree.img", magic: 0x50273030, entry: "pstree_entry" },
    Row { kind: Kind::Sigact, name: "SIGACT", file: "sigacts-%.img", magic: 0x55344201, entry: "sa_entry" },
    Row { kind: Kind::Unixsk, name: "UNIXSK", file: "unixsk.img", magic: 0x54373943, entry: "unix_sk_entry" },
    Row { kind: Kind::Inetsk, name: "INETSK", file: "inetsk.img", magic: 0x56443851, entry: "inet_sk_entry" },
    Row { kind: Kind::Packetsk, name: "PACKETSK", file: "packetsk.img", magic: 0x60454618, entry: "packet_sock_entry" },
    Row {
        kind: Kind::NetlinkSk,
        name: "NETLINK_SK",
        file: "netlinksk.img",
        magic: 0x58005614,
        entry: "netlink_sk_entry",
    },
    Row { kind: Kind::SkQueues, name: "SK_QUEUES", file: "sk-queues.img", magic: 0x56264026, entry: "sk_packet_entry" },
    Row { kind: Kind::Itimers, name: "ITIMERS", file: "itimers-%.img", magic: 0x57464056, entry: "itimer_entry" },
    Row {
        kind: Kind::PosixTimers,
        name: "POSIX_TIMERS",
        file: "posix-timers-%.img",
        magic: 0x52603957,
        entry: "posix_timer_entry",
    },
    Row { kind: Kind::Creds, name: "CREDS", file: "creds-%.img", magic: 0x54023547, entry: "creds_entry" },
    Row { kind: Kind::Utsns, name: "UTSNS", file: "utsns-%.img", magic: 0x54473203, entry: "utsns_entry" },
    Row { kind: Kind::IpcVar, name: "IPC_VAR", file: "ipcns-var-%.img", magic: 0x53115007, entry: "ipc_var_entry" },
    Row { kind: Kind::IpcnsShm, name: "IPCNS_SHM", file: "ipcns-shm-%.img", magic: 0x46283044, entry: "ipc_shm_entry" },
    Row { kind: Kind::IpcnsMsg, name: "IPCNS_MSG", file: "ipcns-msg-%.img", magic: 0x55453737, entry: "ipc_msg_entry" },
    Row { kind: Kind::IpcnsSem, name: "IPCNS_SEM", file: "ipcns-sem-%.img", magic: 0x59573019, entry: "ipc_sem_entry" },
    Row { kind: Kind::Fs, name: "FS", file: "fs-%.img", magic: 0x51403912, entry: "fs_entry" },
    Row {
        kind: Kind::RemapFpath,
        name: "REMAP_FPATH",
        file: "remap-fpath.img",
        magic: 0x59133954,
        entry: "remap_file_path_entry",
    },
    Row {
        kind: Kind::GhostFile,
        name: "GHOST_FILE",
        file: "ghost-file-%x.img",
        magic: 0x52583605,
        entry: "ghost_file_entry",
    },
    Row {
        kind: Kind::MemfdInode,
        name: "MEMFD_INODE",
        file: "memfd.img",
        magic: 0x48453499,
        entry: "memfd_inode_entry",
    },
    Row {
        kind: Kind::TcpStream,
        name: "TCP_STREAM",
        file: "tcp-stream-%x.img",
        magic: 0x51465506,
        entry: "tcp_stream_entry",
    },
    Row { kind: Kind::Mnts, name: "MNTS", file: "mountpoints-%.img", magic: 0x55563928, entry: "mnt_entry" },
    Row { kind: Kind::Netdev, name: "NETDEV", file: "netdev-%.img", magic: 0x57373951, entry: "net_device_entry" },
    Row { kind: Kind::Netns, name: "NETNS", file: "netns-%.img", magic: 0x55933752, entry: "netns_entry" },
    Row { kind: Kind::Ifaddr, name: "IFADDR", file: "ifaddr-%.img", magic: 0x0, entry: "" },
    Row { kind: Kind::Route, name: "ROUTE", file: "route-%.img", magic: 0x0, entry: "" },
    Row { kind: Kind::Route6, name: "ROUTE6", file: "route6-%.img", magic: 0x0, entry: "" },
    Row { kind: Kind::Rule, name: "RULE", file: "rule-%.img", magic: 0x0, entry: "" },
    Row { kind: Kind::Iptables, name: "IPTABLES", file: "iptables-%.img", magic: 0x0, entry: "" },
    Row { kind: Kind::Ip6tables, name: "IP6TABLES", file: "ip6tables-%.img", magic: 0x0, entry: "" },
    Row { kind: Kind::Nftables, name: "NFTABLES", file: "nftables-%.img", magic: 0x0, entry: "" },
    Row { kind: Kind::TmpfsImg, name: "TMPFS_IMG", file: "tmpfs-%.tar.gz.img", magic: 0x0, entry: "" },
    Row { kind: Kind::TmpfsDev, name: "TMPFS_DEV", file: "tmpfs-dev-%.tar.gz.img", magic: 0x0, entry: "" },
    Row { kind: Kind::Autofs, name: "AUTOFS", file: "autofs-%.img", magic: 0x49353943, entry: "autofs_entry" },
    Row {
        kind: Kind::BinfmtMiscOld,
        name: "BINFMT_MISC_OLD",
        file: "binfmt-misc-%.img",
        magic: 0x67343323,
        entry: "binfmt_misc_entry",
    },
    Row {
        kind: Kind::BinfmtMisc,
        name: "BINFMT_MISC",
        file: "binfmt-misc.img",
        magic: 0x67343323,
        entry: "binfmt_misc_entry",
    },
    Row { kind: Kind::TtyFiles, name: "TTY_FILES", file: "tty.img", magic: 0x59433025, entry: "tty_file_entry" },
    Row { kind: Kind::TtyInfo, name: "TTY_INFO", file: "tty-info.img", magic: 0x59453036, entry: "tty_info_entry" },
    Row { kind: Kind::TtyData, name: "TTY_DATA", file: "tty-data.img", magic: 0x59413026, entry: "tty_data_entry" },
    Row {
        kind: Kind::FileLocks,
        name: "FILE_LOCKS",
        file: "filelocks.img",
        magic: 0x54323616,
        entry: "file_lock_entry",
    },
    Row { kind: Kind::Rlimit, name: "RLIMIT", file: "rlimit-%.img", magic: 0x57113925, entry: "rlimit_entry" },
    Row { kind: Kind::Pages, name: "PAGES", file: "pages-%.img", magic: 0x0, entry: "" },
    Row { kind: Kind::PagesOld, name: "PAGES_OLD", file: "pages-%.img", magic: 0x56084025, entry: "pagemap_entry" },
    Row {
        kind: Kind::ShmPagesOld,
        name: "SHM_PAGES_OLD",
        file: "pages-shmem-%.img",
        magic: 0x56084025,
        entry: "pagemap_entry",
    },
    Row { kind: Kind::Signal, name: "SIGNAL", file: "signal-s-%.img", magic: 0x59255647, entry: "signal_queue_entry" },
    Row {
        kind: Kind::Psignal,
        name: "PSIGNAL",
        file: "signal-p-%.img",
        magic: 0x59255647,
        entry: "signal_queue_entry",
    },
    Row { kind: Kind::Tunfile, name: "TUNFILE", file: "tunfile.img", magic: 0x57143751, entry: "tunfile_entry" },
    Row { kind: Kind::Cgroup, name: "CGROUP", file: "cgroup.img", magic: 0x59383330, entry: "cgroup_entry" },
    Row { kind: Kind::Timerfd, name: "TIMERFD", file: "timerfd.img", magic: 0x50493712, entry: "timerfd_entry" },
    Row { kind: Kind::Cpuinfo, name: "CPUINFO", file: "cpuinfo.img", magic: 0x61404013, entry: "cpuinfo_entry" },
    Row { kind: Kind::Seccomp, name: "SECCOMP", file: "seccomp.img", magic: 0x64413049, entry: "seccomp_entry" },
    Row { kind: Kind::Userns, name: "USERNS", file: "userns-%.img", magic: 0x55474906, entry: "userns_entry" },
    Row { kind: Kind::NetnfCt, name: "NETNF_CT", file: "netns-ct-%.img", magic: 0x0, entry: "" },
    Row { kind: Kind::NetnfExp, name: "NETNF_EXP", file: "netns-exp-%.img", magic: 0x0, entry: "" },
    Row { kind: Kind::Files, name: "FILES", file: "files.img", magic: 0x56303138, entry: "file_entry" },
    Row { kind: Kind::Timens, name: "TIMENS", file: "timens-%.img", magic: 0x43114433, entry: "timens_entry" },
    Row { kind: Kind::Pidns, name: "PIDNS", file: "pidns-%.img", magic: 0x61157326, entry: "pidns_entry" },
    Row {
        kind: Kind::BpfmapFile,
        name: "BPFMAP_FILE",
        file: "bpfmap-file.img",
        magic: 0x57506142,
        entry: "bpfmap_file_entry",
    },
    Row {
        kind: Kind::BpfmapData,
        name: "BPFMAP_DATA",
        file: "bpfmap-data.img",
        magic: 0x64324033,
        entry: "bpfmap_data_entry",
    },
    Row { kind: Kind::Apparmor, name: "APPARMOR", file: "apparmor.img", magic: 0x59423047, entry: "apparmor_entry" },
    Row { kind: Kind::Pidfd, name: "PIDFD", file: "pidfd.img", magic: 0x54435556, entry: "pidfd_entry" },
    Row { kind: Kind::Stats, name: "STATS", file: "stats-%", magic: 0x57093306, entry: "stats_entry" },
    Row {
        kind: Kind::IrmapCache,
        name: "IRMAP_CACHE",
        file: "irmap-cache",
        magic: 0x57004059,
        entry: "irmap_cache_entry",
    },
];

impl Kind {
    /// Every kind, in the contract's order.
    pub fn all() -> impl Iterator<Item = Kind> {
        ROWS.iter().map(|r| r.kind)
    }

    fn row(self) -> &'static Row {
        // The table has one row for each variant, in order.
        &ROWS[self as usize]
    }

    /// The name used in the contract and in JSON (`CORE`).
    pub fn name(self) -> &'static str {
        self.row().name
    }

    /// The type's magic; 0 for a file of raw bytes.
    pub fn magic(self) -> u32 {
        self.row().magic
    }

    /// The kind with this magic; where several share it, the one that is written today.
    pub fn by_magic(magic: u32) -> Option<Kind> {
        let kind = ROWS.iter().find(|r| r.magic == magic && magic != 0).map(|r| r.kind)?;
        Some(if kind == Kind::BinfmtMiscOld { Kind::BinfmtMisc } else { kind })
    }

    /// The message of the entries; `None` for raw files.
    pub fn message(self) -> Option<&'static str> {
        Some(self.row().entry).filter(|e| !e.is_empty())
    }

    /// Page files of the oldest format have a pagemap's magic: only the file's name tells them from one.
    pub(crate) fn told_by_name(self, file: &str) -> Kind {
        let name = file.rsplit('/').next().unwrap_or(file);
        match self {
            Kind::Pagemap if name.starts_with("pages-shmem-") => Kind::ShmPagesOld,
            Kind::Pagemap if name.starts_with("pages-") => Kind::PagesOld,
            kind => kind,
        }
    }

    /// The kind of this name (`CORE`).
    pub fn by_name(name: &str) -> Option<Kind> {
        ROWS.iter().find(|r| r.name == name).map(|r| r.kind)
    }

    /// The bytes every image of this kind starts with; none in a raw file.
    pub(crate) fn lead(self) -> Vec<u8> {
        let own = self.magic().to_le_bytes();
        match self {
            Kind::Inventory => own.to_vec(),
            _ if self.magic() == 0 => Vec::new(),
            _ if self.is_service() => [SERVICE_MAGIC.to_le_bytes(), own].concat(),
            _ => [COMMON_MAGIC.to_le_bytes(), own].concat(),
        }
    }

    /// A file that starts with the service magic instead of the common one.
    pub fn is_service(self) -> bool {
        matches!(self, Kind::Stats | Kind::IrmapCache)
    }

    /// The file's name; `id` stands where the pattern has one (`core-12.img`; hexadecimal for ghost files and TCP streams).
    /// A name whose variable part is no number (`stats-dump`) is [`Kind::named`].
    pub fn file_name(self, id: u64) -> String {
        let file = self.row().file;
        match file.find('%') {
            None => file.to_owned(),
            Some(at) if file[at..].starts_with("%x") => file.replacen("%x", &format!("{id:x}"), 1),
            Some(_) => file.replacen('%', &id.to_string(), 1),
        }
    }

    /// Whether a dump writes files of this name (`core-12.img`). `cpuinfo.img` is another command's.
    pub(crate) fn is_of_image(name: &str) -> bool {
        let is_number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-');
        let fits = |row: &Row| match row.file.split_once('%') {
            None => row.file == name,
            Some((before, after)) => {
                let after = after.strip_prefix('x').unwrap_or(after);
                name.strip_prefix(before).and_then(|rest| rest.strip_suffix(after)).is_some_and(is_number)
            }
        };
        name.ends_with(".img") && ROWS.iter().any(|row| row.kind != Kind::Cpuinfo && fits(row))
    }

    /// The file's name with a word where the pattern has an id: `Kind::Stats.named("dump")` is `stats-dump`.
    pub fn named(self, word: &str) -> String {
        self.row().file.replacen("%x", word, 1).replacen('%', word, 1)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
