//! What a program without the standard library needs: raw system calls, the memory functions that the compiler calls, a
//! panic handler that never returns.

use core::arch::{asm, global_asm};

global_asm!(
    ".globl memcpy",
    "memcpy:",
    "mov rax, rdi",
    "mov rcx, rdx",
    "rep movsb",
    "ret",
    ".globl memset",
    "memset:",
    "mov r8, rdi",
    "mov eax, esi",
    "mov rcx, rdx",
    "rep stosb",
    "mov rax, r8",
    "ret",
    ".globl memmove",
    "memmove:",
    "mov rax, rdi",
    "mov rcx, rdx",
    "cmp rdi, rsi",
    "jbe 2f",
    "lea r8, [rsi + rdx]",
    "cmp rdi, r8",
    "jae 2f",
    "lea rsi, [rsi + rdx - 1]",
    "lea rdi, [rdi + rdx - 1]",
    "std",
    "rep movsb",
    "cld",
    "ret",
    "2:",
    "rep movsb",
    "ret",
    ".globl memcmp",
    "memcmp:",
    ".globl bcmp",
    "bcmp:",
    "xor eax, eax",
    "test rdx, rdx",
    "je 3f",
    "2:",
    "movzx eax, byte ptr [rdi]",
    "movzx ecx, byte ptr [rsi]",
    "sub eax, ecx",
    "jne 3f",
    "inc rdi",
    "inc rsi",
    "dec rdx",
    "jne 2b",
    "3:",
    "ret",
);

/// One system call with up to six arguments; a negative value down to -4095 is an errno.
///
/// # Safety
/// As the call itself demands.
#[inline(always)]
pub unsafe fn syscall(nr: i64, a: [u64; 6]) -> i64 {
    let ret: i64;
    // SAFETY: the kernel changes rax, rcx and r11 only; what the call does is the caller's to answer for.
    unsafe {
        asm!("syscall", inlateout("rax") nr => ret, in("rdi") a[0], in("rsi") a[1], in("rdx") a[2], in("r10") a[3],
             in("r8") a[4], in("r9") a[5], lateout("rcx") _, lateout("r11") _, options(nostack));
    }
    ret
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {
        // SAFETY: exit_group takes a status and does not come back.
        unsafe { syscall(231, [255, 0, 0, 0, 0, 0]) };
    }
}

#[unsafe(no_mangle)]
extern "C" fn rust_eh_personality() {}
