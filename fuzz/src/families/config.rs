//! The text of a config file.

use criu_images::options::Settings;

pub fn run(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let mut settings = Settings::new();
    let mut again = Settings::new();
    let first = criu_engine::config::apply_text(text, "fuzz.conf", &mut settings);
    let second = criu_engine::config::apply_text(text, "fuzz.conf", &mut again);
    assert_eq!(first.is_ok(), second.is_ok(), "the same text means the same");
    if let Err(e) = first {
        assert!(e.to_string().contains("fuzz.conf:"), "an error names file and line: {e}");
    }
}
