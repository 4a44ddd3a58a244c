//! What rt_sigaction answers in the task.

use criu_compel::SigAction;
use criu_images::messages::SaEntry;

use super::has_action;

/// The image of the actions of signals 1 to 64.
pub fn entries(actions: &[SigAction]) -> Vec<SaEntry> {
    (1..)
        .zip(actions)
        .filter(|(signo, _)| has_action(*signo))
        .map(|(_, a)| SaEntry {
            sigaction: a.handler,
            flags: a.flags,
            restorer: a.restorer,
            mask: a.mask,
            compat_sigaction: Some(false),
            mask_extended: None,
        })
        .collect()
}
