//! The way home: machine code for the unused tail of the vDSO by which an infected thread gets back to where it was when
//! nobody helps it any more. It uses no stack and no vector register.

use criu_pie::abi::parasite::Slot;

use super::regs::{FLAG_DIRECTION, FLAGS_LOW, is_compat, overflow_seed};
use crate::ptrace::Regs;

/// Code of one thread's way home, and where its parts are.
#[derive(Clone, Debug)]
pub(crate) struct Home {
    pub code: Vec<u8>,
    /// A `syscall` instruction for mmap: what it returns is unmapped by the code behind.
    pub mmap: u64,
    /// A `syscall` instruction followed by the way home.
    pub boot: u64,
}

const SYSCALL: [u8; 2] = [0x0f, 0x05];

/// `mov eax, nr; syscall`.
fn emit_call(code: &mut Vec<u8>, nr: i64) {
    code.push(0xb8);
    code.extend_from_slice(&(nr as u32).to_le_bytes());
    code.extend_from_slice(&SYSCALL);
}

/// `mov r32, value`, registers by their numbers 0 to 7.
fn emit_mov32(code: &mut Vec<u8>, register: u8, value: u32) {
    code.push(0xb8 + register);
    code.extend_from_slice(&value.to_le_bytes());
}

/// `movabs r64, value`, registers by their numbers 0 to 15.
fn emit_mov64(code: &mut Vec<u8>, register: u8, value: u64) {
    code.push(0x48 | register >> 3);
    code.push(0xb8 | register & 7);
    code.extend_from_slice(&value.to_le_bytes());
}

/// `jmp qword ptr [rip]` with the address behind it; to code of the i386 ABI `jmp fword ptr [rip]`, which changes the code segment.
fn emit_jump(code: &mut Vec<u8>, regs: &Regs) {
    if is_compat(regs) {
        code.extend_from_slice(&[0xff, 0x2d, 0, 0, 0, 0]);
        code.extend_from_slice(&(regs.rip as u32).to_le_bytes());
        code.extend_from_slice(&(regs.cs as u16).to_le_bytes());
    } else {
        code.extend_from_slice(&[0xff, 0x25, 0, 0, 0, 0]);
        code.extend_from_slice(&regs.rip.to_le_bytes());
    }
}

/// `lea reg, [rip + ...]` to `data`, an offset in the same code; `modrm` names the register.
fn emit_lea(code: &mut Vec<u8>, modrm: u8, data: usize) {
    code.extend_from_slice(&[0x48, 0x8d, modrm]);
    let next = code.len() + 4;
    code.extend_from_slice(&(data as i32 - next as i32).to_le_bytes());
}

const LEA_RSI: u8 = 0x35;
const LEA_RDX: u8 = 0x15;
const RDI: u8 = 7;
const RSI: u8 = 6;

impl Home {
    /// Code to stand at `address`: unmaps `area_bytes` where mmap made them, puts back the CPU affinity (if it is given) and the
    /// signal mask, then all registers, and jumps to `regs.rip`.
    pub fn new(address: u64, regs: &Regs, sigmask: u64, affinity: Option<&[u8]>, area_bytes: u32) -> Home {
        let mut code = sigmask.to_le_bytes().to_vec();
        let affinity_at = code.len();
        code.extend_from_slice(affinity.unwrap_or(&[]));
        let mmap = address + code.len() as u64;
        code.extend_from_slice(&SYSCALL);
        code.extend_from_slice(&[0x48, 0x89, 0xc7]); // mov rdi, rax
        emit_mov32(&mut code, RSI, area_bytes);
        emit_mov32(&mut code, 0, libc::SYS_munmap as u32);
        let boot = address + code.len() as u64;
        code.extend_from_slice(&SYSCALL);
        if let Some(mask) = affinity {
            emit_mov32(&mut code, RDI, 0);
            emit_mov32(&mut code, RSI, mask.len() as u32);
            emit_lea(&mut code, LEA_RDX, affinity_at);
            emit_call(&mut code, libc::SYS_sched_setaffinity);
        }
        emit_mov32(&mut code, RDI, libc::SIG_SETMASK as u32);
        emit_lea(&mut code, LEA_RSI, 0);
        code.extend_from_slice(&[0x31, 0xd2]); // xor edx, edx
        code.extend_from_slice(&[0x41, 0xba, 8, 0, 0, 0]); // mov r10d, 8
        emit_call(&mut code, libc::SYS_rt_sigprocmask);
        emit_flags(&mut code, regs.eflags);
        let in_order = [
            regs.rax, regs.rcx, regs.rdx, regs.rbx, regs.rsp, regs.rbp, regs.rsi, regs.rdi, regs.r8, regs.r9, regs.r10,
            regs.r11, regs.r12, regs.r13, regs.r14, regs.r15,
        ];
        for (number, value) in in_order.into_iter().enumerate() {
            emit_mov64(&mut code, number as u8, value);
        }
        emit_jump(&mut code, regs);
        Home { code, mmap, boot }
    }
}

/// Sets the arithmetic and direction flags; clobbers rax.
fn emit_flags(code: &mut Vec<u8>, flags: u64) {
    code.push(if flags & FLAG_DIRECTION != 0 { 0xfd } else { 0xfc }); // std, cld
    code.extend_from_slice(&[0xb0, overflow_seed(flags), 0x04, 1]); // mov al, seed; add al, 1
    code.extend_from_slice(&[0xb4, (flags & FLAGS_LOW) as u8, 0x9e]); // mov ah, flags; sahf
}

/// `mov byte ptr [rcx + left], 1`: the thread whose slot is at rcx is out of the area.
fn emit_left(code: &mut Vec<u8>) {
    code.extend_from_slice(&[0xc6, 0x41, std::mem::offset_of!(Slot, left) as u8, 1]);
}

/// Last instructions of threads that were in a system call which is made again: it will overwrite rcx and r11 anyway.
pub(crate) fn shared_exit() -> Vec<u8> {
    let mut code = Vec::new();
    emit_left(&mut code);
    code.extend_from_slice(&[0x41, 0xff, 0xe3]); // jmp r11
    code
}

/// Length of [`exact_exit`].
pub(crate) const EXACT_EXIT_BYTES: usize = 38;

/// Last instructions of one thread to which every register matters.
pub(crate) fn exact_exit(regs: &Regs) -> Vec<u8> {
    let mut code = Vec::new();
    emit_left(&mut code);
    emit_mov64(&mut code, 1, regs.rcx);
    emit_mov64(&mut code, 11, regs.r11);
    emit_jump(&mut code, regs);
    code
}
