//! All but the securebits are read from /proc.

use criu_images::messages::CredsEntry;

use crate::proc::Status;

/// The image of a thread's credentials.
pub fn entry(status: &Status, securebits: u32) -> CredsEntry {
    let [uid, euid, suid, fsuid] = status.uids;
    let [gid, egid, sgid, fsgid] = status.gids;
    CredsEntry {
        uid,
        gid,
        euid,
        egid,
        suid,
        sgid,
        fsuid,
        fsgid,
        cap_inh: words(status.cap_inh),
        cap_prm: words(status.cap_prm),
        cap_eff: words(status.cap_eff),
        cap_bnd: words(status.cap_bnd),
        cap_amb: words(status.cap_amb),
        secbits: securebits,
        groups: status.groups.clone(),
        no_new_privs: status.no_new_privs.then_some(1),
        ..CredsEntry::default()
    }
}

/// The lower word first.
fn words(set: u64) -> Vec<u32> {
    vec![set as u32, (set >> 32) as u32]
}
