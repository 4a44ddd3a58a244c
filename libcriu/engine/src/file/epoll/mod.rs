//! epoll: what it watches, under which numbers, with which events and user data.
//!
//! A registration belongs to a description and the number it had then; since, the number may have been closed or given
//! to something else while a duplicate keeps the registration alive. The kernel tells them apart (kcmp), and the restore
//! registers under the old number even so.
//!
//! Limits: what is watched has to be open in a table that has the epoll descriptor as well. An edge that was already
//! reported is reported once more after the restore. A one-shot registration that has fired stays off, except for hang-ups
//! and errors, which the kernel switches on with every registration.

mod dump;
mod restore;
#[cfg(test)]
mod tests;

use criu_images::messages::FdTypes;

use super::kind::FileKind;

pub(crate) const KIND: FileKind = FileKind {
    types: &[FdTypes::Eventpoll],
    dump: || Box::<dump::Epolls>::default(),
    restore: || Box::<restore::Epolls>::default(),
};

/// For [`crate::parsers`].
pub(super) fn text(info: &super::fdinfo::FdInfo) {
    let _ = info.text.lines().filter_map(dump::parse).count();
}
