//! Golden checkpoints as they are. On a processor without what they need the refusal must name it.

use std::path::Path;

use crate::arena::{Quiet, ask, copy_golden, nothing_is_left, restore_in_worker, set_up_golden};
use crate::{CaseResult, Outcome};

pub fn restores(name: &str) -> CaseResult {
    set_up_golden()?;
    let images = copy_golden(name)?;
    match restore_in_worker(&images, false, Quiet::default()) {
        Ok(pid) => {
            ask(pid, Path::new(&format!("/tmp/golden-{name}.res")))?;
            Ok(Outcome::Passed)
        }
        Err(e) if e.contains("this processor lacks AVX-512") && !std::arch::is_x86_feature_detected!("avx512f") => {
            nothing_is_left()?;
            Ok(Outcome::Skipped(format!("rightly refused: {e}")))
        }
        Err(e) => Err(e),
    }
}
