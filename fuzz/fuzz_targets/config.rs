#![no_main]
libfuzzer_sys::fuzz_target!(|input: &[u8]| criu_fuzz::families::config::run(input));
