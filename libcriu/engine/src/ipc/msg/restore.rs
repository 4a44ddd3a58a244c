//! Queues and their messages.

use std::collections::HashSet;

use criu_images::messages::IpcMsgEntry;
use criu_images::{ImageDir, Kind};

use super::Saved;
use super::dump::users;
use crate::error::{Error, Phase, Result};
use crate::ipc::object::{are_in, create, describe, existing, failed, owner};
use crate::sys::ipc::{Family, msg_create, msg_discard, msg_send, msg_set};

pub(crate) fn load(images: &ImageDir, id: u64) -> Result<Vec<Saved>> {
    let image = |e| Error::image(Phase::Load, e);
    let Some(mut reader) = images.open(Kind::IpcnsMsg, id).map_err(image)? else { return Ok(Vec::new()) };
    let mut queues = Vec::new();
    while let Some(entry) = reader.entry::<IpcMsgEntry>().map_err(image)? {
        let messages = reader.message_queue(&entry).map_err(image)?;
        if let Some((m, _)) = messages.iter().find(|(m, _)| m.mtype == 0 || m.mtype > i64::MAX as u64) {
            let cause = format!("a message of the type {}", m.mtype);
            return Err(Error::new(Phase::Load, describe(Family::Msg, &entry.desc), cause));
        }
        queues.push((entry, messages));
    }
    Ok(queues)
}

/// Makes the queue be there; `settle` gives it its messages.
///
/// # Errors
/// Its key or id is taken, or others have used it since.
pub(crate) fn provide((entry, _): &Saved, tree: &HashSet<i32>, made: &mut Vec<(Family, u32)>) -> Result<()> {
    let desc = &entry.desc;
    match existing(Family::Msg, desc)? {
        None => {
            create(Family::Msg, desc, || msg_create(desc.key, desc.mode))?;
            made.push((Family::Msg, desc.id));
        }
        Some(row) if are_in(tree, users(&row)) => {}
        Some(_) => {
            let cause = "there is one that others have used or made since";
            return Err(Error::new(Phase::Memory, describe(Family::Msg, desc), cause)
                .errno(libc::EEXIST)
                .hint("remove it (ipcrm), or restore inside an IPC namespace of its own"));
        }
    }
    Ok(())
}

/// Puts the messages, and no others, into the queue: this process is the one that the kernel then names as its last user.
pub(crate) fn settle((entry, messages): &Saved) -> Result<()> {
    let desc = &entry.desc;
    let failed = |call: &'static str| failed(Family::Msg, desc, call);
    while msg_discard(desc.id).map_err(failed("msgrcv"))? {}
    // A queue's capacity may have been lowered below what it holds.
    let held: u64 = messages.iter().map(|(m, _)| u64::from(m.msize)).sum();
    let capacity = u64::from(entry.qbytes);
    msg_set(desc.id, owner(desc), capacity.max(held)).map_err(failed("msgctl IPC_SET"))?;
    for (m, text) in messages {
        msg_send(desc.id, m.mtype as i64, text).map_err(failed("msgsnd"))?;
    }
    if held > capacity {
        msg_set(desc.id, owner(desc), capacity).map_err(failed("msgctl IPC_SET"))?;
    }
    Ok(())
}
