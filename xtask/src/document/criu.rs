//! criu(8), from the option table.

use criu_images::options::{Command, OptionKind, OptionSpec, Section, options};

use super::roff::Roff;

pub(super) fn man() -> String {
    let mut page = Roff::new("criu", 8, "checkpoint and restore of processes");
    page.section("synopsis");
    for command in Command::ALL {
        page.verbatim(&format!("criu {}", command.synopsis().0));
    }
    page.section("description");
    page.text(
        "criu saves a running tree of processes (memory, threads, open files, pipes, timers, signals, seccomp filters and more) \
         into a directory of images, and brings it back later with the same pids, where it was. State that cannot be saved is \
         refused by name before anything has been touched. A dump that fails leaves the tree running as before, a restore that \
         fails leaves nothing behind.",
    );
    page.section("commands");
    for command in Command::ALL {
        let (usage, what) = command.synopsis();
        page.item(&format!("criu {usage}"), &sentence(what));
    }
    page.section("options");
    page.text(
        "Long options may be shortened while they stay unique. Switches shown with [no-] can be turned off again, which is of \
         use when a config file has turned them on. Every command accepts every option.",
    );
    for section in Section::ALL {
        page.subsection(section.title());
        for option in options().filter(|o| o.section == *section) {
            page.item(&tag(option), &what(option));
        }
    }
    closing(&mut page);
    page.finish()
}

fn closing(page: &mut Roff) {
    page.section("configuration files");
    page.text(
        "Options are read from /etc/criu/default.conf, then from $HOME/.criu/default.conf, then from the file that the \
         environment variable CRIU_CONFIG_FILE or the option --config names, then from the command line; what comes later \
         counts. A line holds a long option without its dashes and perhaps a value; # begins a comment.",
    );
    page.section("exit status");
    page.item("0", "It is done; of check: all of it is there.");
    page.item("1", "It failed. The last lines of standard error, or of the log, say why and what would help.");
    page.section("files");
    page.item(
        "*.img",
        "The images; crit(1) shows them. inventory.img is written last: with it a directory is a checkpoint.",
    );
    page.item("stats-dump, stats-restore", "What an operation did and how long it took, in the work directory.");
    page.section("examples");
    page.text("Save a shell's job into a directory and bring it back:");
    page.verbatim("criu dump -t 4213 -D /tmp/images --shell-job\ncriu restore -D /tmp/images --shell-job");
    page.text("Ask what would make a dump fail, changing nothing:");
    page.verbatim("criu check -t 4213");
    page.section("see also");
    page.text("crit(1), libcriu(3), ptrace(2), namespaces(7)");
}

fn tag(o: &OptionSpec) -> String {
    let short = o.short.map_or(String::new(), |c| format!("-{c}, "));
    match o.kind {
        OptionKind::Switch => format!("{short}--{}", o.name),
        OptionKind::SwitchNo => format!("{short}--[no-]{}", o.name),
        OptionKind::Value => format!("{short}--{} {}", o.name, o.value),
        OptionKind::OptionalValue => format!("{short}--{}[={}]", o.name, o.value),
    }
}

fn what(o: &OptionSpec) -> String {
    let default = if o.default.is_empty() { String::new() } else { format!(" Default: {}.", o.default) };
    let commands: Vec<&str> = o.commands.iter().map(|c| c.name()).collect();
    let all = commands.is_empty() || commands.len() == Command::ALL.len();
    let heeded = if all { String::new() } else { format!(" Heeded by {}.", commands.join(", ")) };
    format!("{}{default}{heeded}", o.help)
}

fn sentence(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or(String::new(), |c| format!("{}{}.", c.to_uppercase(), chars.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_option_and_command_is_there() {
        let page = man().replace("\\-", "-").replace("\\(ha", "^").replace("\\(ti", "~");
        for o in options() {
            assert!(page.contains(&format!("\\fB{}\\fR", tag(o))), "{}", o.name);
        }
        assert!(Command::ALL.iter().all(|c| page.contains(&format!("\\fBcriu {}\\fR", c.synopsis().0))));
    }
}
