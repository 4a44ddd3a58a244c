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
    /// Unix sockets that are connected, or have to do with one name, by the lowest of their inodes.
    Unix(u32),
}
