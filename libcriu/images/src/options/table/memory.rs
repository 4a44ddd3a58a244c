//! Memory and its migration.

use crate::messages::CriuPreDumpMode;
use crate::options::Command::{Dump, LazyPages, PageServer, PreDump, Restore};
use crate::options::OptionKind::{Switch, SwitchNo, Value};
use crate::options::set::{flag, single};
use crate::options::{OptionSpec, Section, value};

pub(super) const OPTIONS: &[OptionSpec] = &[
    OptionSpec {
        name: "prev-images-dir",
        short: None,
        kind: Value,
        value: "DIR",
        default: "",
        field: "parent_img",
        commands: &[Dump, PreDump],
        section: Section::Memory,
        help: "The images of the dump before this one, relative to the images directory: memory that has not changed since is not saved again.",
        set: single!(parent_img, value::text),
    },
    OptionSpec {
        name: "track-mem",
        short: None,
        kind: SwitchNo,
        value: "",
        default: "",
        field: "track_mem",
        commands: &[Dump, PreDump],
        section: Section::Memory,
        help: "Have the kernel note which memory changes, for a later dump with --prev-images-dir.",
        set: flag!(track_mem),
    },
    OptionSpec {
        name: "auto-dedup",
        short: None,
        kind: SwitchNo,
        value: "",
        default: "",
        field: "auto_dedup",
        commands: &[Dump, PreDump, Restore, PageServer],
        section: Section::Memory,
        help: "Free the disk blocks of memory as soon as a later dump, or the restored task, has it.",
        set: flag!(auto_dedup),
    },
    OptionSpec {
        name: "lazy-pages",
        short: None,
        kind: Switch,
        value: "",
        default: "",
        field: "lazy_pages",
        commands: &[Dump, Restore, LazyPages],
        section: Section::Memory,
        help: "Leave memory to be fetched when it is touched.",
        set: flag!(lazy_pages),
    },
    OptionSpec {
        name: "stream",
        short: None,
        kind: SwitchNo,
        value: "",
        default: "",
        field: "stream",
        commands: &[Dump, Restore],
        section: Section::Memory,
        help: "Exchange images with an image streamer over sockets in the images directory.",
        set: flag!(stream),
    },
    OptionSpec {
        name: "pre-dump-mode",
        short: None,
        kind: Value,
        value: "{splice|read}",
        default: "splice",
        field: "pre_dump_mode",
        commands: &[PreDump],
        section: Section::Memory,
        help: "How a pre-dump takes memory: by splice while the tasks are stopped, or by reading while they run.",
        set: single!(pre_dump_mode, |t| value::word(
            t,
            &[("splice", CriuPreDumpMode::Splice as i32), ("read", CriuPreDumpMode::VmRead as i32)]
        )),
    },
    OptionSpec {
        name: "allow-uprobes",
        short: None,
        kind: SwitchNo,
        value: "",
        default: "",
        field: "allow_uprobes",
        commands: &[Dump, Restore],
        section: Section::Memory,
        help: "Allow tasks with a uprobes mapping.",
        set: flag!(allow_uprobes),
    },
];
