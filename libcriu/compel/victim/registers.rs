//! Spins with a value of its own in every register until the test sets a flag, then looks at all of them.

use std::arch::global_asm;

use super::Verdict;

/// rax, rbx, rdx, rsi, rdi, rbp, r8 to r15, flags; mxcsr; 16 ymm registers; x87 control word and two numbers.
#[repr(C, align(64))]
struct State {
    general: [u64; 15],
    mxcsr: u32,
    control: u32,
    ymm: [[u64; 4]; 16],
    x87: [f64; 2],
}

global_asm!(
    ".globl victim_spin",
    "victim_spin:", // rdi = in, rsi = out, rdx = flag
    "push rbx",
    "push rbp",
    "push r12",
    "push r13",
    "push r14",
    "push r15",
    "push rsi",
    "mov rcx, rdx",
    "mov rax, rdi",
    "sub rsp, 8",
    "stmxcsr [rsp]",
    "fnstcw [rsp + 4]",
    "ldmxcsr [rax + 120]",
    "fldcw [rax + 124]",
    "fld qword ptr [rax + 640]",
    "fld qword ptr [rax + 648]",
    ".irp n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15",
    "vmovdqu ymm\\n, [rax + 128 + 32 * \\n]",
    ".endr",
    "push qword ptr [rax + 112]",
    "popfq",
    "mov rbx, [rax + 8]",
    "mov rdx, [rax + 16]",
    "mov rsi, [rax + 24]",
    "mov rdi, [rax + 32]",
    "mov rbp, [rax + 40]",
    "mov r8, [rax + 48]",
    "mov r9, [rax + 56]",
    "mov r10, [rax + 64]",
    "mov r11, [rax + 72]",
    "mov r12, [rax + 80]",
    "mov r13, [rax + 88]",
    "mov r14, [rax + 96]",
    "mov r15, [rax + 104]",
    "mov rax, [rax]",
    "mov [rip + victim_flag], rcx",
    // Neither instruction of the loop changes a flag.
    "2: mov rcx, [rip + victim_flag]",
    "mov rcx, [rcx]",
    "jrcxz 2b",
    "mov rcx, [rsp + 8]", // the address for the results
    "mov [rcx], rax",
    "pushfq",
    "pop rax",
    "cld",
    "mov [rcx + 112], rax",
    "mov [rcx + 8], rbx",
    "mov [rcx + 16], rdx",
    "mov [rcx + 24], rsi",
    "mov [rcx + 32], rdi",
    "mov [rcx + 40], rbp",
    "mov [rcx + 48], r8",
    "mov [rcx + 56], r9",
    "mov [rcx + 64], r10",
    "mov [rcx + 72], r11",
    "mov [rcx + 80], r12",
    "mov [rcx + 88], r13",
    "mov [rcx + 96], r14",
    "mov [rcx + 104], r15",
    "stmxcsr [rcx + 120]",
    "fnstcw [rcx + 124]",
    "fstp qword ptr [rcx + 648]",
    "fstp qword ptr [rcx + 640]",
    ".irp n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15",
    "vmovdqu [rcx + 128 + 32 * \\n], ymm\\n",
    ".endr",
    "ldmxcsr [rsp]",
    "fldcw [rsp + 4]",
    "add rsp, 8",
    "pop rsi",
    "pop r15",
    "pop r14",
    "pop r13",
    "pop r12",
    "pop rbp",
    "pop rbx",
    "ret",
    ".data",
    ".balign 8",
    "victim_flag: .quad 0",
    ".text",
);

unsafe extern "C" {
    fn victim_spin(input: *const State, output: *mut State, flag: *const u64);
}

pub fn run() -> Verdict {
    if !is_x86_feature_detected!("avx") {
        return Err("skip: the CPU has no AVX".into());
    }
    let pattern = |n: u64| 0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(n + 1);
    let mut input = State {
        general: std::array::from_fn(|n| pattern(n as u64)),
        mxcsr: 0x1f80 | 0x6000, // round to zero
        control: 0x0f7f,        // extended precision, round to zero
        ymm: std::array::from_fn(|n| std::array::from_fn(|m| pattern((n * 4 + m + 100) as u64))),
        x87: [1.0 / 3.0, -2.0e300],
    };
    input.general[14] = 0x202 | 0x1 | 0x40 | 0x400 | 0x800; // carry, zero, direction, overflow
    let zero = [0; 15];
    let mut output = State { general: zero, mxcsr: 0, control: 0, ymm: [[0; 4]; 16], x87: [0.0; 2] };
    let flag = Box::leak(Box::new(0_u64));
    println!("{:x}", &raw const *flag as u64);
    super::ready();
    // SAFETY: the assembler saves what the ABI wants saved; the test sets the flag from outside.
    unsafe { victim_spin(&input, &mut output, flag) };
    if input.general != output.general {
        return Err(format!("general registers {:x?} instead of {:x?}", output.general, input.general));
    }
    if (input.mxcsr, input.control) != (output.mxcsr & !0x3f, output.control & 0xffff) {
        return Err(format!("mxcsr {:x}, x87 control word {:x}", output.mxcsr, output.control));
    }
    if input.ymm != output.ymm {
        return Err("vector registers changed".into());
    }
    if input.x87 != output.x87 {
        return Err(format!("x87 registers {:?}", output.x87));
    }
    Ok(())
}
