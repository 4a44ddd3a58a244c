//! Queues that only tasks of the tree have sent to and received from.

use std::collections::HashSet;
use std::io;

use criu_images::messages::{IpcMsg, IpcMsgEntry};
use criu_images::{ImageDir, Kind};

use super::Saved;
use crate::error::{Error, Phase, Result};
use crate::ipc::object::{Row, are_in, describe, list};
use crate::ipc::sem::dump::is_gone;
use crate::sys::ipc::{Family, msg_capacity, msg_copy};

pub(super) fn users(row: &Row) -> [i32; 2] {
    [row.get("lspid") as i32, row.get("lrpid") as i32]
}

pub(crate) fn resolve(tree: &HashSet<i32>) -> Result<Vec<Saved>> {
    let rows =
        list(Family::Msg).map_err(|e| Error::os(Phase::Collect, Family::Msg.name(), "reading /proc/sysvipc/msg", e))?;
    let mut queues = Vec::new();
    for row in rows.iter().filter(|r| are_in(tree, users(r))) {
        match queue(row) {
            Ok(queue) => queues.push(queue),
            Err(e) if is_gone(&e) => {}
            Err(e) => return Err(Error::os(Phase::Collect, describe(Family::Msg, &row.desc), "msgrcv MSG_COPY", e)),
        }
    }
    Ok(queues)
}

fn queue(row: &Row) -> io::Result<Saved> {
    let id = row.desc.id;
    let count = row.get("qnum") as u32;
    let bytes = row.get("cbytes") as usize;
    let messages = (0..count as usize).map(|at| {
        let (mtype, text) = msg_copy(id, at, bytes)?;
        Ok((IpcMsg { mtype: mtype as u64, msize: text.len() as u32 }, text))
    });
    let messages = messages.collect::<io::Result<Vec<_>>>()?;
    Ok((IpcMsgEntry { desc: row.desc, qbytes: msg_capacity(id)? as u32, qnum: count }, messages))
}

pub(crate) fn save(images: &ImageDir, id: u64, queues: &[Saved]) -> Result<()> {
    let image = |e| Error::image(Phase::Save, e);
    if queues.is_empty() {
        return images.remove(&Kind::IpcnsMsg.file_name(id)).map_err(image);
    }
    let mut out = images.create(Kind::IpcnsMsg, id).map_err(image)?;
    for (entry, messages) in queues {
        out.message_queue(entry, messages).map_err(image)?;
    }
    out.finish().map_err(image)
}
