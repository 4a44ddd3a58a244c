//! What belongs together: descriptions that are ends of one object and so have to be opened by one process.

/// The object behind a description, as images name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Object {
    /// A description with nothing beside it.
    Alone(super::FileId),
    /// Both ends of a pipe, by `pipe_id`.
    Pipe(u32),
    /// Everything that has one fifo open, by `pipe_id`.
    Fifo(u32),
    /// A pair of unix sockets, by the lower of their inodes.
    UnixPair(u32),
}
