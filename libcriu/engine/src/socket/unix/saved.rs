//! What images say of unix sockets: checked, and grouped into what has to be restored by one process.

use std::collections::{HashMap, HashSet};

use criu_images::messages::{FdTypes, SkPacketEntry, SkUcredEntry, UnixSentEntry, UnixSkEntry};
use criu_images::{ImageDir, Kind};

use super::name::Name;
use super::{DGRAM, EXTERNAL, MAX_QUEUE_BYTES, PEER_EXTERNAL, SCM_RIGHTS, SEQPACKET, SERVICE, STREAM, named, state};
use crate::error::{Error, Phase, Result};
use crate::file::Entries;
use crate::file::{FileId, Plan, body};
use crate::numbers::ByNumber;
use crate::sys::unix::Credentials;

/// Descriptors in one message: SCM_MAX_FD of the kernel.
const MAX_RIGHTS: usize = 253;

/// A message as it was saved.
#[derive(Debug)]
pub(super) struct Saved {
    pub bytes: Vec<u8>,
    pub rights: Vec<FileId>,
    pub credentials: Option<Credentials>,
    pub sender: Vec<u8>,
    pub urgent: bool,
}

impl From<&UnixSentEntry> for Saved {
    fn from(sent: &UnixSentEntry) -> Self {
        Saved {
            bytes: sent.data.clone(),
            rights: Vec::new(),
            credentials: sent.ucred.as_ref().map(Credentials::from),
            sender: Vec::new(),
            urgent: sent.urgent(),
        }
    }
}

impl From<&SkUcredEntry> for Credentials {
    fn from(c: &SkUcredEntry) -> Self {
        Credentials { pid: c.pid as i32, uid: c.uid, gid: c.gid }
    }
}

/// Every unix socket of the images.
#[derive(Debug, Default)]
pub(super) struct Sockets {
    by_ino: ByNumber<u32, FileId>,
    /// The lowest inode among those that a socket has to do with; absent for one that is alone.
    groups: ByNumber<FileId, u32>,
    /// Groups in which files are made.
    with_files: HashSet<u32>,
    pub queues: ByNumber<FileId, Vec<Saved>>,
    needs: ByNumber<FileId, Vec<FileId>>,
    /// Names of sockets outside the tree, by their inodes.
    pub outside: ByNumber<u32, Vec<u8>>,
}

impl Sockets {
    pub(super) fn load(plan: &Plan, images: &ImageDir) -> Result<Self> {
        let mut sockets = Sockets::default();
        let entries = || plan.entries.values().filter(|e| e.r#type() == FdTypes::Unixsk);
        for entry in entries() {
            let usk = body(entry, entry.usk.as_deref())?;
            if sockets.by_ino.insert(usk.ino, entry.id).is_some() {
                return Err(Error::new(Phase::Check, named(usk), "two sockets have this inode"));
            }
        }
        for entry in entries() {
            let usk = body(entry, entry.usk.as_deref())?;
            if plan.inherit.is_empty() || !plan.inherit.contains_key(&key(usk)) {
                sockets.check(&plan.entries, usk).map_err(|why| Error::new(Phase::Check, named(usk), why))?;
            }
        }
        sockets.load_queues(plan, images)?;
        sockets.group(&plan.entries);
        Ok(sockets)
    }

    pub(super) fn peer<'a>(&self, entries: &'a Entries, usk: &UnixSkEntry) -> Option<&'a UnixSkEntry> {
        self.by_ino.get(&usk.peer).and_then(|id| entries.get(id)).and_then(|e| e.usk.as_deref())
    }

    pub(super) fn group_of(&self, id: FileId) -> Option<u32> {
        self.groups.get(&id).copied()
    }

    pub(super) fn makes_files(&self, group: u32) -> bool {
        self.with_files.contains(&group)
    }

    pub(super) fn needs(&self, id: FileId) -> &[FileId] {
        self.needs.get(&id).map_or(&[], Vec::as_slice)
    }

    fn check(&self, entries: &Entries, usk: &UnixSkEntry) -> std::result::Result<(), String> {
        if !matches!(usk.r#type, STREAM | DGRAM | SEQPACKET) {
            return Err(format!("there is no type {}", usk.r#type));
        }
        if usk.uflags == SERVICE {
            return Ok(());
        }
        let name = Name::parse(&usk.name)?;
        match usk.uflags {
            EXTERNAL if usk.r#type != DGRAM || name == Name::None => {
                return Err("a socket outside the tree that cannot be connected to".into());
            }
            EXTERNAL => return Ok(()),
            PEER_EXTERNAL if usk.peer != 0 => return Err("its peer is outside the tree, and has an inode".into()),
            0 | PEER_EXTERNAL => {}
            other => return Err(format!("sockets with the flags {other:#x} have to be inherited")),
        }
        let absolute = |path: &Option<Vec<u8>>| path.as_ref().is_none_or(|p| p.starts_with(b"/") && !p.contains(&0));
        if !absolute(&usk.name_dir) || !absolute(&usk.file_path) {
            return Err("the place of its file is no absolute path".into());
        }
        if let (Name::Path(path), None, None) = (name, &usk.file_path, &usk.name_dir)
            && !path.starts_with(b"/")
            && !usk.deleted()
        {
            return Err("bound to a relative path, and images do not say where".into());
        }
        match usk.state {
            state::LISTEN if usk.r#type == DGRAM || name == Name::None || usk.peer != 0 => {
                return Err("such a socket cannot listen".into());
            }
            state::LISTEN | state::CLOSE | state::ESTABLISHED => {}
            other => return Err(format!("there is no state {other}")),
        }
        let waits_here = |ino: &u32| {
            let client = self.by_ino.get(ino).and_then(|id| entries.get(id)).and_then(|e| e.usk.as_deref());
            client.is_some_and(|c| c.peer == usk.ino)
        };
        let gone = |ino: &&u32| **ino != 0 || usk.waiting.is_empty();
        let waiting = usk.waiting.iter().map(|c| &c.ino);
        if !usk.pending.iter().filter(gone).chain(waiting.filter(|ino| **ino != 0)).all(waits_here) {
            return Err("a connection waits to be accepted by it whose client is not in files.img".into());
        }
        if usk.state != state::LISTEN && !usk.waiting.is_empty() {
            return Err("connections wait to be accepted by a socket that does not listen".into());
        }
        if usk.peer == 0 {
            return Ok(());
        }
        match self.peer(entries, usk) {
            None => Err(format!("its peer (ino {}) is not in files.img", usk.peer)),
            Some(peer) if peer.r#type != usk.r#type || peer.uflags & !EXTERNAL != 0 => {
                Err("its peer is of another type".into())
            }
            Some(peer) if peer.peer == usk.ino || usk.r#type == DGRAM || peer.state == state::LISTEN => Ok(()),
            Some(_) => Err("its peer is connected elsewhere".into()),
        }
    }

    fn load_queues(&mut self, plan: &Plan, images: &ImageDir) -> Result<()> {
        let loading = |e| Error::image(Phase::Load, e);
        let Some(mut image) = images.open(Kind::SkQueues, 0).map_err(loading)? else { return Ok(()) };
        let mut total = 0;
        while let Some(packet) = image.entry::<SkPacketEntry>().map_err(loading)? {
            total += u64::from(packet.length);
            if total > MAX_QUEUE_BYTES {
                return Err(loading(image.corrupt("more bytes than sockets can hold")));
            }
            let bytes = image.payload(u64::from(packet.length)).map_err(loading)?;
            let Some(usk) = plan.entries.get(&packet.id_for).and_then(|e| e.usk.as_deref()) else {
                return Err(loading(image.corrupt(format!("file {} is no unix socket", packet.id_for))));
            };
            let wrong = |why: &str| Err(Error::new(Phase::Check, format!("a message of {}", named(usk)), why));
            if packet.scm.iter().any(|s| s.r#type != SCM_RIGHTS) {
                return wrong("it carries something other than descriptors");
            }
            let rights: Vec<FileId> = packet.scm.iter().flat_map(|s| &s.rights).copied().collect();
            if rights.len() > MAX_RIGHTS || rights.iter().any(|id| !plan.entries.contains_key(id)) {
                return wrong("it carries descriptors that are not in files.img");
            }
            if let Err(why) = Name::parse(packet.sender()) {
                return wrong(why);
            }
            self.needs.entry(packet.id_for).or_default().extend(&rights);
            self.queues.entry(packet.id_for).or_default().push(Saved {
                bytes,
                rights,
                credentials: packet.ucred.as_ref().map(Credentials::from),
                sender: packet.sender.unwrap_or_default(),
                urgent: packet.urgent.unwrap_or(false),
            });
        }
        Ok(())
    }

    /// Sockets belong together that are connected, or that have one name: a listening one and those it accepted, a socket
    /// and what it has sent.
    fn group(&mut self, entries: &Entries) {
        let sockets: Vec<&UnixSkEntry> = entries.values().filter_map(|e| e.usk.as_deref()).collect();
        let mut sets = Sets::new(sockets.len());
        let at: ByNumber<u32, usize> = sockets.iter().enumerate().map(|(at, s)| (s.ino, at)).collect();
        let mut names: HashMap<(u32, &[u8]), usize> = HashMap::default();
        for (i, usk) in sockets.iter().enumerate().filter(|(_, s)| s.uflags & (EXTERNAL | SERVICE) == 0) {
            let inside = |p: &&usize| usk.peer != 0 && sockets.get(**p).is_some_and(|s| s.uflags != EXTERNAL);
            if let Some(&peer) = at.get(&usk.peer).filter(inside) {
                sets.join(i, peer);
            }
            if !usk.name.is_empty() {
                sets.join(*names.entry((usk.r#type, &usk.name)).or_insert(i), i);
            }
        }
        for (i, usk) in sockets.iter().enumerate() {
            for message in self.queues.get(&usk.id).into_iter().flatten().filter(|m| !m.sender.is_empty()) {
                sets.join(*names.entry((usk.r#type, &message.sender)).or_insert(i), i);
            }
        }
        let mut lowest: ByNumber<usize, (u32, usize)> = HashMap::default();
        for (i, usk) in sockets.iter().enumerate() {
            let set = lowest.entry(sets.find(i)).or_insert((usk.ino, 0));
            *set = (set.0.min(usk.ino), set.1 + 1);
        }
        for (i, usk) in sockets.iter().enumerate() {
            let Some(&(group, size)) = lowest.get(&sets.find(i)) else { continue };
            if usk.uflags == EXTERNAL {
                self.outside.insert(usk.ino, usk.name.clone());
                continue;
            }
            let has_path = usk.name.first().is_some_and(|&b| b != 0);
            if size > 1 || has_path {
                self.groups.insert(usk.id, group);
            }
            if has_path {
                self.with_files.insert(group);
            }
        }
    }
}

/// Disjoint sets of numbers.
struct Sets(Vec<usize>);

impl Sets {
    fn new(count: usize) -> Self {
        Sets((0..count).collect())
    }

    fn find(&mut self, mut at: usize) -> usize {
        while let Some(&up) = self.0.get(at).filter(|&&up| up != at) {
            let next = self.0.get(up).copied().unwrap_or(up);
            if let Some(here) = self.0.get_mut(at) {
                *here = next;
            }
            at = up;
        }
        at
    }

    fn join(&mut self, a: usize, b: usize) {
        let (a, b) = (self.find(a), self.find(b));
        if let Some(root) = self.0.get_mut(a) {
            *root = b;
        }
    }
}

/// As `inherit_fd` names it.
pub(super) fn key(usk: &UnixSkEntry) -> String {
    format!("socket:[{}]", usk.ino)
}
