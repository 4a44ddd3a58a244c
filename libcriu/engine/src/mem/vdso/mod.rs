//! The vDSO: code and data that the kernel maps into every process. It belongs to the running kernel, while a restored
//! task has addresses of the dumping kernel's functions in its memory.
//!
//! The same build: the mapping is moved to where the image has it. Another one: the image's code stays at its place as
//! ordinary memory, and each of its functions begins with a jump to the function of that name in the running kernel's.

pub mod restore;
