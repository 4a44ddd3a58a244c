//! Text for man pages: escaped, with the few macros of man(7) that are used.

use std::fmt::Write as _;

/// A page under construction.
#[derive(Debug)]
pub(super) struct Roff(String);

impl Roff {
    /// `.TH` and the line of NAME. Without a date: the same sources give the same page.
    pub(super) fn new(name: &str, section: u8, what: &str) -> Roff {
        let version = env!("CARGO_PKG_VERSION");
        let upper = name.to_uppercase();
        let mut page = Roff(format!(".TH {upper} {section} \"\" \"libcriu {version}\" \"Checkpoint and restore\"\n"));
        page.section("NAME");
        page.text(&format!("{name} - {what}"));
        page
    }

    pub(super) fn section(&mut self, title: &str) {
        let _ = writeln!(self.0, ".SH {}", title.to_uppercase());
    }

    pub(super) fn subsection(&mut self, title: &str) {
        let _ = writeln!(self.0, ".SS {}", escaped(title));
    }

    /// A paragraph.
    pub(super) fn text(&mut self, text: &str) {
        let _ = writeln!(self.0, ".PP\n{}", escaped(text));
    }

    /// An entry of a list: its tag in bold, what it says indented below.
    pub(super) fn item(&mut self, tag: &str, text: &str) {
        let _ = writeln!(self.0, ".TP\n\\fB{}\\fR\n{}", escaped(tag), escaped(text));
    }

    /// A further paragraph of an entry.
    pub(super) fn continued(&mut self, text: &str) {
        if !text.is_empty() {
            let _ = writeln!(self.0, ".IP\n{}", escaped(text));
        }
    }

    /// Lines as they are.
    pub(super) fn verbatim(&mut self, text: &str) {
        let _ = writeln!(self.0, ".PP\n.RS 4\n.nf\n{}\n.fi\n.RE", escaped(text));
    }

    pub(super) fn finish(self) -> String {
        self.0
    }
}

/// Neither a backslash nor a line that begins like a request means anything to roff.
fn escaped(text: &str) -> String {
    let text = text.replace('\\', "\\e").replace('-', "\\-").replace('~', "\\(ti").replace('^', "\\(ha");
    let lines = text.lines().map(|l| if l.starts_with(['.', '\'']) { format!("\\&{l}") } else { l.to_owned() });
    lines.collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_a_text_is_a_request() {
        assert_eq!(escaped(".so x\n'a\nb\\c --no"), "\\&.so x\n\\&'a\nb\\ec \\-\\-no");
    }
}
