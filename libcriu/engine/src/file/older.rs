//! Open files as older checkpoints have them: before there was `files.img`, each kind had an image of its own, and what an
//! epoll or notify descriptor watches had another.

use std::collections::BTreeMap;

use criu_images::messages::{
    EventfdFileEntry, EventpollFileEntry, EventpollTfdEntry, ExtFileEntry, FanotifyFileEntry, FanotifyMarkEntry,
    FdTypes, FifoEntry, FileEntry, InetSkEntry, InotifyFileEntry, InotifyWdEntry, NetlinkSkEntry, NsFileEntry,
    PacketSockEntry, PipeEntry, RegFileEntry, SignalfdEntry, TimerfdEntry, TtyFileEntry, TunfileEntry, UnixSkEntry,
};
use criu_images::{ImageDir, ImageError, Kind};

use super::FileId;

type Result<T> = std::result::Result<T, ImageError>;

/// All entries of the images that were there before `files.img`.
pub(super) fn files(images: &ImageDir) -> Result<Vec<FileEntry>> {
    let mut found = Vec::new();
    macro_rules! kinds {
        ($($kind:ident $message:ident $type:ident $field:ident,)*) => {$(
            for entry in images.read_all::<$message>(Kind::$kind, 0)? {
                let (r#type, id) = (FdTypes::$type as i32, entry.id);
                found.push(FileEntry { r#type, id, $field: Some(Box::new(entry)), ..FileEntry::default() });
            }
        )*};
    }
    kinds! {
        RegFiles RegFileEntry Reg reg,
        ExtFiles ExtFileEntry Ext ext,
        NsFiles NsFileEntry Ns nsf,
        Pipes PipeEntry Pipe pipe,
        Fifo FifoEntry Fifo fifo,
        Unixsk UnixSkEntry Unixsk usk,
        Inetsk InetSkEntry Inetsk isk,
        Packetsk PacketSockEntry Packetsk psk,
        NetlinkSk NetlinkSkEntry Netlinksk nlsk,
        EventfdFile EventfdFileEntry Eventfd efd,
        EventpollFile EventpollFileEntry Eventpoll epfd,
        Signalfd SignalfdEntry Signalfd sgfd,
        Timerfd TimerfdEntry Timerfd tfd,
        InotifyFile InotifyFileEntry Inotify ify,
        FanotifyFile FanotifyFileEntry Fanotify ffy,
        TtyFiles TtyFileEntry Tty tty,
        Tunfile TunfileEntry Tunf tunf,
    }
    Ok(found)
}

/// Gives descriptors that watch nothing by their entry what other images say that they watch.
pub(super) fn add_watched(images: &ImageDir, entries: &mut BTreeMap<FileId, FileEntry>) -> Result<()> {
    let any = |entries: &BTreeMap<FileId, FileEntry>, lacks: fn(&FileEntry) -> bool| entries.values().any(lacks);
    if any(entries, |e| e.epfd.as_ref().is_some_and(|epfd| epfd.tfd.is_empty())) {
        for target in images.read_all::<EventpollTfdEntry>(Kind::EventpollTfd, 0)? {
            if let Some(epfd) = entries.get_mut(&target.id).and_then(|e| e.epfd.as_mut()) {
                epfd.tfd.push(target);
            }
        }
    }
    if any(entries, |e| e.ify.as_ref().is_some_and(|ify| ify.wd.is_empty())) {
        for watch in images.read_all::<InotifyWdEntry>(Kind::InotifyWd, 0)? {
            if let Some(ify) = entries.get_mut(&watch.id).and_then(|e| e.ify.as_mut()) {
                ify.wd.push(watch);
            }
        }
    }
    if any(entries, |e| e.ffy.as_ref().is_some_and(|ffy| ffy.mark.is_empty())) {
        for mark in images.read_all::<FanotifyMarkEntry>(Kind::FanotifyMark, 0)? {
            if let Some(ffy) = entries.get_mut(&mark.id).and_then(|e| e.ffy.as_mut()) {
                ffy.mark.push(mark);
            }
        }
    }
    Ok(())
}
