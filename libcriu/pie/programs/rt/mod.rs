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

/// One system call by its i386 number, with up to four arguments; a negative value is an errno. Addresses are below 4 GiB.
///
/// # Safety
/// As the call itself demands.
pub unsafe fn syscall_ia32(nr: u32, a: [u32; 4]) -> i64 {
    let ret: u32;
    // SAFETY: the kernel changes eax only, older ones r8 to r11 too; what the call does is the caller's to answer for.
    unsafe {
        asm!("xchg rbx, {a}", "int 0x80", "xchg rbx, {a}", a = inout(reg) u64::from(a[0]) => _, inlateout("eax") nr => ret,
             in("ecx") a[1], in("edx") a[2], in("esi") a[3], out("r8") _, out("r9") _, out("r10") _, out("r11") _,
             options(nostack));
    }
    i64::from(ret as i32)
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
