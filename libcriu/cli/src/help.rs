//! The help text, made from the option table.

use std::fmt::Write as _;

use criu_images::options::{Command, OptionKind, OptionSpec, Section, options};

/// Everything that `criu --help` shows.
pub fn text() -> String {
    let mut out = String::from("criu saves a process tree into files and brings it back from them.\n\nCommands:\n");
    for command in Command::ALL {
        let (usage, what) = command.synopsis();
        let _ = writeln!(out, "  criu {usage}\n      {what}");
    }
    for section in Section::ALL {
        let _ = writeln!(out, "\n{}:", section.title());
        for o in options().filter(|o| o.section == *section) {
            option(&mut out, o);
        }
    }
    out.push_str(
        "\nLong options may be shortened while they stay unique. Switches shown with [no-] can be turned off again.\n",
    );
    out
}

fn option(out: &mut String, o: &OptionSpec) {
    let short = o.short.map_or(String::from("    "), |c| format!("-{c}, "));
    let no = if o.kind == OptionKind::SwitchNo { "[no-]" } else { "" };
    let value = match o.kind {
        OptionKind::Switch | OptionKind::SwitchNo => String::new(),
        OptionKind::Value => format!(" {}", o.value),
        OptionKind::OptionalValue => format!("[={}]", o.value),
    };
    let default = if o.default.is_empty() { String::new() } else { format!(" Default: {}.", o.default) };
    let _ = writeln!(out, "  {short}--{no}{}{value}", o.name);
    for line in wrap(&format!("{}{default}", o.help), 100) {
        let _ = writeln!(out, "          {line}");
    }
}

/// Breaks a text at spaces into lines of at most `width` characters where that can be done.
fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if line.is_empty() => line.push_str(word),
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_option_and_command_is_explained() {
        let text = text();
        for o in options() {
            assert!(text.contains(o.name), "{}", o.name);
        }
        assert!(Command::ALL.iter().all(|c| text.contains(&format!("criu {}", c.name()))));
        assert!(text.lines().all(|l| l.chars().count() <= 120), "{:?}", text.lines().find(|l| l.len() > 120));
    }
}
