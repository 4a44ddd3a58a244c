//! Files of /proc and answers of the kernel. The first line names the file.

use super::split_line;

pub fn run(input: &[u8]) {
    let (name, text) = split_line(input);
    criu_engine::parsers::read(name, text);
}
