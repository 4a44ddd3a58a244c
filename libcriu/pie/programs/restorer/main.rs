//! restorer

#![no_std]
#![no_main]

#[path = "../rt/mod.rs"]
mod rt;

#[unsafe(no_mangle)]
#[unsafe(link_section = ".text.start")]
extern "C" fn _start(args: u64) -> ! {
    loop {
        // SAFETY: exit_group takes a status and does not come back.
        unsafe { rt::syscall(231, [args, 0, 0, 0, 0, 0]) };
    }
}
