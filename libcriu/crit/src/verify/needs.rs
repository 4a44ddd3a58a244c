//! What a machine must have to restore this.

use criu_images::messages::{CoreEntry, FdTypes};

use super::Findings;

/// Components of the xsave area by their bits.
const COMPONENTS: [(u32, &str); 9] = [
    (2, "AVX"),
    (3, "MPX"),
    (5, "AVX-512"),
    (9, "PKU"),
    (11, "shadow stacks"),
    (17, "AMX"),
    (18, "AMX"),
    (19, "APX"),
    (6, "AVX-512"),
];

impl Findings {
    /// The needs of one thread.
    pub(super) fn needs_of(&mut self, core: &CoreEntry) {
        self.needs.insert(format!("a CPU of type {}", core.mtype().as_str_name().to_lowercase()));
        let xsave = core.thread_info.as_ref().and_then(|i| i.fpregs.xsave.as_ref());
        for (_, name) in COMPONENTS.iter().filter(|c| xsave.is_some_and(|x| x.xstate_bv >> c.0 & 1 != 0)) {
            self.needs.insert(format!("a CPU with {name}"));
        }
        self.needs.insert("Linux 5.5 (clone3 with set_tid)".to_owned());
        let thread = core.thread_core.as_ref();
        if thread.is_some_and(|t| t.seccomp_mode() as i32 == 2) {
            self.needs.insert("a kernel with seccomp filters".to_owned());
        }
        if thread.is_some_and(|t| t.rseq_entry.is_some()) {
            self.needs.insert("Linux 5.13 (rseq)".to_owned());
        }
        if core.ids.is_some_and(|i| i.time_ns_id.is_some()) {
            self.needs.insert("Linux 5.11 (time namespaces)".to_owned());
        }
    }

    pub(super) fn needs_of_files(&mut self) {
        let kinds: Vec<FdTypes> = self.files.values().map(|f| f.r#type()).collect();
        for (kind, need) in [
            (FdTypes::Pidfd, "Linux 5.4 (pidfds)"),
            (FdTypes::Memfd, "a kernel with memfd"),
            (FdTypes::Bpfmap, "a kernel with BPF maps"),
            (FdTypes::Tunf, "a kernel with tun devices"),
            (FdTypes::Fanotify, "a kernel with fanotify"),
            (FdTypes::Iouring, "a kernel with io_uring"),
        ] {
            if kinds.contains(&kind) {
                self.needs.insert(need.to_owned());
            }
        }
    }
}
