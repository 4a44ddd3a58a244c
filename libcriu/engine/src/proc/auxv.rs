//! /proc/PID/auxv

use std::io;

use super::ProcDir;

/// The auxiliary vector as words, without its terminating pair.
///
/// # Errors
/// Those of reading the file.
pub fn auxv(dir: &ProcDir) -> io::Result<Vec<u64>> {
    let bytes = dir.read("auxv")?;
    let (words, _) = bytes.as_chunks::<8>();
    let mut words: Vec<u64> = words.iter().map(|w| u64::from_le_bytes(*w)).collect();
    let end = words.chunks(2).position(|pair| pair[0] == 0).unwrap_or(words.len() / 2);
    words.truncate(end * 2);
    Ok(words)
}
