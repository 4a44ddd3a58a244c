//! What `criu check` looks at.

use crate::options::Command::Check;
use crate::options::OptionKind::{Switch, SwitchNo, Value};
use crate::options::set::{command_flag, text_of};
use crate::options::{OptionSpec, Section, value};

pub(super) const OPTIONS: &[OptionSpec] = &[
    OptionSpec {
        name: "ms",
        short: None,
        kind: Switch,
        value: "",
        default: "",
        field: "",
        commands: &[Check],
        section: Section::Check,
        help: "Ask only for what released kernels have; that is the default.",
        set: |_, _| Ok(()),
    },
    OptionSpec {
        name: "feature",
        short: None,
        kind: Value,
        value: "NAME",
        default: "",
        field: "",
        commands: &[Check],
        section: Section::Check,
        help: "Check for one feature; `list` names them all. May be given several times.",
        set: |s, g| {
            s.command.features.push(value::text(text_of(g))?);
            Ok(())
        },
    },
    OptionSpec {
        name: "extra",
        short: None,
        kind: SwitchNo,
        value: "",
        default: "",
        field: "",
        commands: &[Check],
        section: Section::Check,
        help: "Also check features that only some kinds of state need.",
        set: command_flag!(extra),
    },
    OptionSpec {
        name: "experimental",
        short: None,
        kind: SwitchNo,
        value: "",
        default: "",
        field: "",
        commands: &[Check],
        section: Section::Check,
        help: "Also check features that are new.",
        set: command_flag!(experimental),
    },
    OptionSpec {
        name: "all",
        short: None,
        kind: Switch,
        value: "",
        default: "",
        field: "",
        commands: &[Check],
        section: Section::Check,
        help: "Check everything: --extra and --experimental.",
        set: command_flag!(all),
    },
];
