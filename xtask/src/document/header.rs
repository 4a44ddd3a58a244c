//! What a C header declares: functions with the comments before them.

/// A function of the C interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Function {
    pub(super) name: String,
    /// The declaration in one line.
    pub(super) declaration: String,
    /// Paragraphs.
    pub(super) comment: Vec<String>,
}

/// The functions of a header that cbindgen wrote: `//` comments, then a declaration that ends with a semicolon.
pub(super) fn functions(header: &str) -> Vec<Function> {
    let mut all = Vec::new();
    let mut comment: Vec<String> = Vec::new();
    let mut lines = header.lines();
    while let Some(line) = lines.next() {
        if let Some(text) = line.strip_prefix("//") {
            match (text.trim(), comment.last_mut()) {
                ("", _) => comment.push(String::new()),
                (text, Some(last)) if !last.is_empty() => *last = format!("{last} {text}"),
                (text, Some(last)) => text.clone_into(last),
                (text, None) => comment.push(text.into()),
            }
            continue;
        }
        let is_function = line.contains("criu_") && line.contains('(') && !line.starts_with([' ', '#', '}', '/', '*']);
        if is_function && !line.starts_with("typedef") {
            let mut declaration = line.to_owned();
            while !declaration.ends_with(';') {
                let Some(next) = lines.next() else { break };
                declaration = format!("{declaration} {}", next.trim());
            }
            let name = declaration.split('(').next().and_then(|d| d.rsplit([' ', '*']).next()).unwrap_or_default();
            all.push(Function { name: name.into(), declaration: declaration.clone(), comment: comment.clone() });
        }
        comment.clear();
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn declarations_with_their_comments() {
        let header = "// Not this.\ntypedef int (*criu_cb)(int x);\n\n// Does it.\n// Well.\n//\n// 0: done.\nint criu_do(int a,\n            \
                      int b);\nstruct criu_x {\n  // A field.\n  int (*criu_field)(void);\n};\n";
        let all = functions(header);
        assert_eq!(all.len(), 1);
        assert_eq!((all[0].name.as_str(), all[0].declaration.as_str()), ("criu_do", "int criu_do(int a, int b);"));
        assert_eq!(all[0].comment, ["Does it. Well.", "0: done."]);
    }
}
