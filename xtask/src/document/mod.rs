//! Man pages and shell completions, made from the option table, crit's usage and the C headers.

mod completion;
mod crit;
mod criu;
mod header;
mod library;
mod roff;

use std::fs;

use crate::workspace::Workspace;

/// A file of the documentation: where it goes below a prefix, and what it says.
#[derive(Clone, Debug)]
pub struct Page {
    pub path: &'static str,
    pub text: String,
}

/// Everything that an installation gets.
///
/// # Errors
/// The headers cannot be read.
pub fn pages(workspace: &Workspace) -> Result<Vec<Page>, String> {
    let page = |path, text| Page { path, text };
    let read = |name: &str| {
        fs::read_to_string(workspace.root.join("include/criu").join(name)).map_err(|e| format!("{name}: {e}"))
    };
    Ok(vec![
        page("share/man/man8/criu.8", criu::man()),
        page("share/man/man1/crit.1", crit::man()),
        page("share/man/man3/libcriu.3", library::man(&read("criu.h")?, &read("criu-ext.h")?)),
        page("share/bash-completion/completions/criu", completion::bash()),
        page("share/zsh/vendor-completions/_criu", completion::zsh()),
        page("share/fish/vendor_completions.d/criu.fish", completion::fish()),
        page("share/bash-completion/completions/crit", completion::bash_crit()),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    /// What groff and bash themselves say of the pages.
    #[test]
    fn the_pages_are_well_formed() {
        let room = tempfile::tempdir().unwrap();
        for page in pages(&Workspace::find().unwrap()).unwrap() {
            let file = room.path().join("page");
            fs::write(&file, &page.text).unwrap();
            let mut judge = match page.path {
                p if p.contains("/man/") => {
                    let mut groff = Command::new("groff");
                    groff.args(["-man", "-ww", "-Tutf8", "-z"]);
                    groff
                }
                p if p.contains("bash-completion") => {
                    let mut bash = Command::new("bash");
                    bash.arg("-n");
                    bash
                }
                _ => continue,
            };
            let Ok(out) = judge.arg(&file).output() else {
                println!("skipped {}: {:?} is not installed", page.path, judge.get_program());
                continue;
            };
            let said = String::from_utf8_lossy(&out.stderr);
            assert!(out.status.success() && said.is_empty(), "{}: {said}", page.path);
        }
    }

    /// The catalogue of errors has every kind with its number, and no page names a file that is not there.
    #[test]
    fn the_documents_agree_with_the_sources() {
        let root = Workspace::find().unwrap().root;
        let read = |name: &str| fs::read_to_string(root.join(name)).unwrap();
        let (header, errors) = (read("include/criu/criu-ext.h"), read("docs/errors.md"));
        let kinds =
            header.lines().filter_map(|l| l.trim().strip_prefix("CRIU_ERR_")?.trim_end_matches(',').split_once(" = "));
        let mut count = 0;
        for (name, number) in kinds {
            assert!(errors.contains(&format!("| `{name}` ({number})")), "docs/errors.md lacks {name} ({number})");
            count += 1;
        }
        assert!(count > 10);
        for page in ["README.md", "docs/guide.md", "docs/errors.md", "docs/from-criu.md", "docs/images.md"] {
            let text = read(page);
            let folder = root.join(page).parent().unwrap().to_path_buf();
            for link in text.split("](").skip(1).filter_map(|rest| rest.split([')', '#']).next()) {
                assert!(link.is_empty() || link.contains("://") || folder.join(link).exists(), "{page}: {link}");
            }
            let named = text.split('`').filter(|w| w.starts_with("examples/") && !w.contains(' '));
            named.for_each(|path| assert!(root.join(path).exists(), "{page}: {path}"));
        }
    }
}
