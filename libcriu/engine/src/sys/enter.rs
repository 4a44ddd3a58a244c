//! The jump out of the engine's own program.

/// Goes on at `entry` with `argument`, on the stack that ends at `stack_top`. Nothing of this program runs afterwards.
///
/// # Safety
/// `entry` is the restorer, placed with its relocations; `stack_top` is 16-byte aligned writable memory; `argument` is the
/// address of its filled-in arguments.
pub unsafe fn enter_restorer(entry: u64, stack_top: u64, argument: u64) -> ! {
    // SAFETY: by the caller's promise; the call does not return.
    unsafe {
        std::arch::asm!("mov rsp, {stack}", "xor ebp, ebp", "call {entry}", "ud2",
            stack = in(reg) stack_top, entry = in(reg) entry, in("rdi") argument, options(noreturn))
    }
}
