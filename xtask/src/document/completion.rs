//! What the shells complete: commands and long options, files and directories as their values.

use std::fmt::Write as _;

use criu_images::options::{Command, OptionKind, OptionSpec, options};

use super::crit;

/// What an option's value is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Value {
    None,
    Directory,
    File,
    Process,
    Other,
}

fn value(o: &OptionSpec) -> Value {
    match (o.kind, o.value) {
        (OptionKind::Switch | OptionKind::SwitchNo | OptionKind::OptionalValue, _) => Value::None,
        (_, "DIR") => Value::Directory,
        (_, "PID") => Value::Process,
        (_, v) if v.contains("FILE") || v.contains("PATH") => Value::File,
        _ => Value::Other,
    }
}

/// Every spelling of an option, with dashes.
fn spellings(o: &OptionSpec) -> Vec<String> {
    let long = format!("--{}{}", o.name, if o.kind == OptionKind::OptionalValue { "=" } else { "" });
    let off = (o.kind == OptionKind::SwitchNo).then(|| format!("--no-{}", o.name));
    o.short.map(|c| format!("-{c}")).into_iter().chain([long]).chain(off).collect()
}

fn commands() -> String {
    Command::ALL.iter().map(|c| c.name()).collect::<Vec<_>>().join(" ")
}

/// The spellings of all options with such a value, as alternatives of a `case`.
fn pattern(wanted: Value) -> String {
    let all = options().filter(|o| value(o) == wanted).flat_map(spellings);
    all.collect::<Vec<_>>().join("|")
}

pub(super) fn bash() -> String {
    let all: Vec<String> = options().flat_map(spellings).filter(|s| s.starts_with("--")).collect();
    format!(
        "# bash completion of criu\n_criu() {{\n\tlocal word=${{COMP_WORDS[COMP_CWORD]}} before=${{COMP_WORDS[COMP_CWORD-1]}}\n\
         \tCOMPREPLY=()\n\tcase $before in\n\
         \t{})\n\t\tcompopt -o filenames\n\t\tCOMPREPLY=($(compgen -d -- \"$word\"))\n\t\treturn ;;\n\
         \t{})\n\t\tcompopt -o filenames\n\t\tCOMPREPLY=($(compgen -f -- \"$word\"))\n\t\treturn ;;\n\
         \t{})\n\t\tCOMPREPLY=($(compgen -W \"$(ps -eo pid=)\" -- \"$word\"))\n\t\treturn ;;\n\
         \t{})\n\t\treturn ;;\n\tesac\n\
         \tif [[ $word == -* ]]; then\n\t\tCOMPREPLY=($(compgen -W '{}' -- \"$word\"))\n\
         \t\t[[ ${{COMPREPLY[0]}} == *= ]] && compopt -o nospace\n\
         \telse\n\t\tCOMPREPLY=($(compgen -W '{}' -- \"$word\"))\n\tfi\n}}\ncomplete -F _criu criu\n",
        pattern(Value::Directory),
        pattern(Value::File),
        pattern(Value::Process),
        pattern(Value::Other),
        all.join(" "),
        commands(),
    )
}

/// The first words of crit's commands, then files.
pub(super) fn bash_crit() -> String {
    let mut names: Vec<String> =
        crit::commands().iter().filter_map(|(usage, _)| Some(usage.split(' ').next()?.to_owned())).collect();
    names.dedup();
    format!(
        "# bash completion of crit\n_crit() {{\n\tlocal word=${{COMP_WORDS[COMP_CWORD]}}\n\tif ((COMP_CWORD == 1)); then\n\
         \t\tCOMPREPLY=($(compgen -W '{}' -- \"$word\"))\n\telse\n\t\tcompopt -o filenames\n\
         \t\tCOMPREPLY=($(compgen -f -- \"$word\"))\n\tfi\n}}\ncomplete -F _crit crit\n",
        names.join(" ")
    )
}

pub(super) fn zsh() -> String {
    let mut out = String::from("#compdef criu\n_arguments -s \\\n");
    for o in options() {
        let help = quoted(&o.help.replace('[', "(").replace(']', ")").replace(':', " -"));
        let action = match value(o) {
            Value::None => "",
            Value::Directory => ":directory:_files -/",
            Value::File => ":file:_files",
            Value::Process => ":process:_pids",
            Value::Other => ":value: ",
        };
        for spelling in spellings(o) {
            let joined =
                if o.kind == OptionKind::OptionalValue && spelling.starts_with("--") { ":value: " } else { action };
            let spelling = if spelling.ends_with('=') { format!("{}-", spelling) } else { spelling };
            let _ = writeln!(out, "  '*{spelling}[{help}]{joined}' \\");
        }
    }
    let _ = writeln!(out, "  '1:command:({})' '*:argument:_files'", commands());
    out
}

pub(super) fn fish() -> String {
    let mut out = String::from("# fish completion of criu\ncomplete -c criu -f\n");
    for c in Command::ALL {
        let what = quoted(c.synopsis().1);
        let _ = writeln!(out, "complete -c criu -n __fish_use_subcommand -a {} -d '{what}'", c.name());
    }
    for o in options() {
        let short = o.short.map_or(String::new(), |c| format!(" -s {c}"));
        let action = match value(o) {
            Value::None => "",
            Value::Directory => " -x -a '(__fish_complete_directories)'",
            Value::File => " -r -F",
            Value::Process => " -x -a '(__fish_complete_pids)'",
            Value::Other => " -x",
        };
        let _ = writeln!(out, "complete -c criu{short} -l {}{action} -d '{}'", o.name, quoted(o.help));
        if o.kind == OptionKind::SwitchNo {
            let _ = writeln!(out, "complete -c criu -l no-{}", o.name);
        }
    }
    out
}

/// Within single quotes.
fn quoted(text: &str) -> String {
    text.replace(['\\', '\''], "")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lets bash complete a line.
    fn completed(words: &[&str]) -> Vec<String> {
        let script = format!(
            "{}\ncompopt() {{ :; }}\nCOMP_WORDS=({})\nCOMP_CWORD={}\n_criu\nprintf '%s\\n' \"${{COMPREPLY[@]}}\"",
            bash(),
            words.iter().map(|w| format!("'{w}'")).collect::<Vec<_>>().join(" "),
            words.len() - 1
        );
        let out = std::process::Command::new("bash").args(["-c", &script]).output().unwrap();
        assert!(out.stderr.is_empty(), "{}", String::from_utf8_lossy(&out.stderr));
        String::from_utf8_lossy(&out.stdout).lines().map(str::to_owned).collect()
    }

    #[test]
    fn bash_completes_commands_options_and_directories() {
        assert_eq!(completed(&["criu", "du"]), ["dump"]);
        assert_eq!(completed(&["criu", "dump", "--leave-r"]), ["--leave-running"]);
        assert!(completed(&["criu", "dump", "--no-"]).contains(&"--no-tcp-close".to_owned()));
        assert_eq!(completed(&["criu", "dump", "-D", "/et"]), ["/etc"]);
    }

    #[test]
    fn every_option_is_completed() {
        for text in [bash(), zsh()] {
            assert!(options().all(|o| text.contains(&format!("--{}", o.name))));
        }
        assert!(options().all(|o| fish().contains(&format!("-l {}", o.name))));
    }
}
