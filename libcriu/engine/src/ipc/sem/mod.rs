//! Sets of semaphores (semget): `ipcns-sem-N.img` lists them with their values.

pub(super) mod dump;
pub(super) mod restore;
