//! Security modules and privileges.

use crate::options::Command::{Check, Dump, PreDump, Restore};
use crate::options::OptionKind::{SwitchNo, Value};
use crate::options::set::{flag, lsm_profile, single};
use crate::options::{OptionSpec, Section, value};

pub(super) const OPTIONS: &[OptionSpec] = &[
    OptionSpec {
        name: "lsm-profile",
        short: None,
        kind: Value,
        value: "TYPE:NAME",
        default: "",
        field: "lsm_profile",
        commands: &[Restore],
        section: Section::Security,
        help: "Restore the tasks under this profile: apparmor:NAME or selinux:LABEL.",
        set: single!(lsm_profile, lsm_profile),
    },
    OptionSpec {
        name: "lsm-mount-context",
        short: None,
        kind: Value,
        value: "CONTEXT",
        default: "",
        field: "lsm_mount_context",
        commands: &[Restore],
        section: Section::Security,
        help: "Restore mounts with this SELinux context.",
        set: single!(lsm_mount_context, value::text),
    },
    OptionSpec {
        name: "unprivileged",
        short: None,
        kind: SwitchNo,
        value: "",
        default: "",
        field: "unprivileged",
        commands: &[Dump, PreDump, Restore, Check],
        section: Section::Security,
        help: "Work without root, with CAP_CHECKPOINT_RESTORE alone.",
        set: flag!(unprivileged),
    },
];
