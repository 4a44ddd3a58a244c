//! The jump out of the engine's own program.

/// Goes on at `entry` with `argument`, on the stack that ends at `stack_top`. Nothing of this program runs afterwards.
///
/// # Safety
/// `entry` is the restorer, placed with its relocations; `stack_top` is 16-byte aligned writable memory; `argument` is the
/// address of its filled-in arguments.
pub unsafe fn enter_restorer(entry: u64, stack_top: u64, argument: u64) -> ! {
    // SAFETY: by the caller's promise; the call does not return.
    unsafe {
        // Named registers: any that the compiler chose could be rbp.
        std::arch::asm!("mov rsp, rcx", "xor ebp, ebp", "call rax", "ud2",
            in("rcx") stack_top, in("rax") entry, in("rdi") argument, options(noreturn))
    }
}
