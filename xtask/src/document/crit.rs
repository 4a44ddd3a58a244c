//! crit(1), from the usage that the command itself prints.

use super::roff::Roff;

/// How each command is called and what it does.
pub(super) fn commands() -> Vec<(String, String)> {
    let mut all: Vec<(String, String)> = Vec::new();
    for line in criu_crit::USAGE.lines().skip(2) {
        let begins_anew = line.starts_with("  ") && !line.starts_with("   ");
        match (begins_anew, line.trim().split_once("   ")) {
            (true, Some((usage, what))) => all.push((usage.into(), what.trim().into())),
            (true, None) => all.push((line.trim().into(), String::new())),
            (false, _) => {
                if let Some((_, what)) = all.last_mut() {
                    *what = format!("{what} {}", line.trim()).trim().to_owned();
                }
            }
        }
    }
    all
}

pub(super) fn man() -> String {
    let mut page = Roff::new("crit", 1, "view, edit, compare and verify checkpoints");
    page.section("synopsis");
    page.verbatim("crit [--version] COMMAND ...");
    page.section("description");
    page.text(
        "crit works on the images that criu(8) writes. An image is decoded to JSON and encoded back byte for byte; a whole \
         checkpoint is explored, compared with another, verified, or edited before it is restored.",
    );
    page.section("commands");
    for (usage, what) in commands() {
        page.item(&format!("crit {usage}"), &format!("{}.", capital(&what)));
    }
    page.section("exit status");
    page.item("0", "It is done; of diff: nothing differs; of verify: the checkpoint is complete.");
    page.item("1", "It failed, something differs, the checkpoint is not complete.");
    page.item("2", "It was wrongly used.");
    page.section("examples");
    page.verbatim("crit x /tmp/images ps\ncrit show /tmp/images/pstree.img\ncrit verify /tmp/images");
    page.section("see also");
    page.text("criu(8), libcriu(3)");
    page.finish()
}

fn capital(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or(String::new(), |c| format!("{}{}", c.to_uppercase(), chars.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_has_its_text() {
        let all = commands();
        for name in ["decode", "encode", "info", "show", "x", "diff", "verify", "edit FILE", "edit DIR"] {
            let found = all.iter().find(|(usage, _)| usage.starts_with(name));
            assert!(found.is_some_and(|(_, what)| what.len() > 10), "{name}: {found:?}");
        }
    }
}
