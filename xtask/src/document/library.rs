//! libcriu(3), from the C headers.

use super::header::{Function, functions};
use super::roff::Roff;

pub(super) fn man(header: &str, ext: &str) -> String {
    let mut page = Roff::new("libcriu", 3, "checkpoint and restore of processes as a library");
    page.section("synopsis");
    page.verbatim("#include <criu.h>\n#include <criu-ext.h>\n\ncc program.c $(pkg-config --cflags --libs criu)");
    page.section("description");
    page.text(
        "The library is a drop-in for CRIU's libcriu.so.2 with the engine inside: each operation is executed by a worker, a \
         process that the library starts from its own file. criu.h has the interface of CRIU; criu-ext.h, in the same library, \
         has what that lacks: errors with their cause, every obstacle at once, progress, cancelling, deadlines.",
    );
    page.text(
        "Every function criu_local_X works on options of its own, made by criu_local_init_opts; the function criu_X without \
         `local' does the same with the global options of criu_init_opts. Operations return 0 or a positive number, or a \
         negative error; criu_local_last_error then tells all about it. Distinct options may be used by different threads at \
         the same time.",
    );
    for (title, text) in [("functions of criu.h", header), ("functions of criu-ext.h", ext)] {
        page.section(title);
        list(&mut page, &functions(text));
    }
    page.section("example");
    page.verbatim(
        "criu_opts *opts = NULL;\n\nif (criu_local_init_opts(&opts))\n\treturn 1;\ncriu_local_set_pid(opts, pid);\n\
         criu_local_set_images_dir_fd(opts, dir);\nif (criu_local_dump(opts) < 0)\n\
         \tfprintf(stderr, \"%s\\n\", criu_local_last_error(opts)->message);\ncriu_local_free_opts(opts);",
    );
    page.section("see also");
    page.text("criu(8), crit(1)");
    page.finish()
}

/// Global twins (`As criu_local_X, with the global options.`) are covered by the description.
fn list(page: &mut Roff, all: &[Function]) {
    for f in all.iter().filter(|f| !f.comment.first().is_some_and(|c| c.ends_with("with the global options."))) {
        page.item(&f.declaration, f.comment.first().map_or("", String::as_str));
        for paragraph in f.comment.iter().skip(1) {
            page.continued(paragraph);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_function_is_there_once() {
        let root = crate::workspace::Workspace::find().unwrap().root.join("include/criu");
        let [header, ext] = ["criu.h", "criu-ext.h"].map(|n| std::fs::read_to_string(root.join(n)).unwrap());
        let page = man(&header, &ext).replace("\\-", "-");
        for name in ["criu_local_dump", "criu_local_restore_child", "criu_local_cancel", "criu_local_preflight"] {
            let lines = page.lines().filter(|l| l.starts_with("\\fB") && l.contains(&format!("{name}(")));
            assert_eq!(lines.count(), 1, "{name}");
        }
        assert!(functions(&header).len() > 100 && functions(&ext).len() > 30);
    }
}
