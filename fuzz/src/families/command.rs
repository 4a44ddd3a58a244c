//! A command line, its words separated by newlines.

use criu_images::options::Settings;

#[allow(dead_code)]
#[path = "../../../libcriu/cli/src/args/mod.rs"]
mod args;

pub fn run(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let words = text.split('\n').map(str::to_string);
    match args::parse(words) {
        Ok(parsed) => {
            let mut settings = Settings::new();
            if let Err(e) = parsed.apply(&mut settings) {
                assert!(!e.to_string().is_empty());
            }
        }
        Err(e) => assert!(!e.to_string().is_empty()),
    }
}
