//! What rt_sigaction answers in the task.

use criu_compel::SigAction;
use criu_images::messages::SaEntry;

use super::has_action;
use crate::task::abi::Abi;

/// The image of the actions of signals 1 to 64.
pub fn entries(actions: &[SigAction], abi: Abi) -> Vec<SaEntry> {
    (1..)
        .zip(actions)
        .filter(|(signo, _)| has_action(*signo))
        .map(|(_, a)| SaEntry {
            sigaction: a.handler,
            flags: a.flags,
            restorer: a.restorer,
            mask: a.mask,
            compat_sigaction: Some(abi == Abi::Ia32),
            mask_extended: None,
        })
        .collect()
}
