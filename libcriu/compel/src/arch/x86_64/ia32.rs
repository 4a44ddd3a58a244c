//! Calls by the i386 instruction, from 64-bit code: for what the kernel keeps apart for the i386 ABI.

use std::arch::asm;

/// One system call by its i386 number; a negative value is an errno. Addresses are below 4 GiB.
///
/// # Safety
/// As the call itself demands.
pub(crate) unsafe fn call_ia32(nr: u32, [a, b, c]: [u32; 3]) -> i32 {
    let ret: u32;
    // SAFETY: the kernel changes eax only, older ones r8 to r11 too; what the call does is the caller's to answer for.
    unsafe {
        asm!("xchg rbx, {a}", "int 0x80", "xchg rbx, {a}", a = inout(reg) u64::from(a) => _, inlateout("eax") nr => ret,
             in("ecx") b, in("edx") c, out("r8") _, out("r9") _, out("r10") _, out("r11") _);
    }
    ret as i32
}
