//! signalfd: a signal mask. What is pending belongs to the tasks, not to the descriptor.

mod dump;
mod restore;
#[cfg(test)]
mod tests;

use criu_images::messages::FdTypes;

use super::kind::FileKind;

pub(crate) const KIND: FileKind = FileKind {
    types: &[FdTypes::Signalfd],
    dump: || Box::new(dump::Signalfds),
    restore: || Box::new(restore::Signalfds),
};
