//! Memory: areas, their pages, shared memory, the fields of the address space.

pub(crate) mod aio;
pub(crate) mod huge;
pub mod mm;
pub mod pages;
pub(crate) mod policy;
pub mod shmem;
pub mod vdso;
pub mod vma;
