//! From what ptrace gives (`user_regs_struct`, NT_X86_XSTATE) to the image.

use criu_compel::Regs;
use criu_compel::arch::{Restart, restart_of};
use criu_images::messages::{
    UserX86FpregsEntry, UserX86RegsEntry, UserX86RegsMode, UserX86XsaveComponent, UserX86XsaveEntry,
};

use super::SYSCALL_BYTES;
use super::xsave::{components, number};
use crate::task::abi::Abi;

/// The general registers. A thread in an interrupted system call stands in front of it again: what the kernel keeps to itself of a
/// call that sleeps cannot be saved, so its time starts anew.
pub fn gpregs(r: &Regs, abi: Abi) -> UserX86RegsEntry {
    let mut e = UserX86RegsEntry {
        r15: r.r15,
        r14: r.r14,
        r13: r.r13,
        r12: r.r12,
        bp: r.rbp,
        bx: r.rbx,
        r11: r.r11,
        r10: r.r10,
        r9: r.r9,
        r8: r.r8,
        ax: r.rax,
        cx: r.rcx,
        dx: r.rdx,
        si: r.rsi,
        di: r.rdi,
        orig_ax: r.orig_rax,
        ip: r.rip,
        cs: r.cs,
        flags: r.eflags,
        sp: r.rsp,
        ss: r.ss,
        fs_base: r.fs_base,
        gs_base: r.gs_base,
        ds: r.ds,
        es: r.es,
        fs: r.fs,
        gs: r.gs,
        mode: Some(match abi {
            Abi::Native => UserX86RegsMode::Native as i32,
            Abi::Ia32 => UserX86RegsMode::Compat as i32,
        }),
        restart: None,
    };
    if restart_of(r) != Restart::None {
        e.ax = r.orig_rax;
        e.ip = r.rip.wrapping_sub(SYSCALL_BYTES);
        e.restart = Some((r.rax as i32).unsigned_abs());
    }
    e
}

/// The extended state, from the bytes of NT_X86_XSTATE (or of NT_PRFPREG on a CPU without xsave). `None` when they are too short.
pub fn fpregs(xstate: &[u8]) -> Option<UserX86FpregsEntry> {
    const LEGACY_BYTES: usize = 512;
    let legacy = xstate.get(..LEGACY_BYTES)?;
    let half = |at: usize| u32::from(u16::from_le_bytes([legacy[at], legacy[at + 1]]));
    let mut f = UserX86FpregsEntry {
        cwd: half(0),
        swd: half(2),
        twd: half(4),
        fop: half(6),
        rip: words64(&legacy[8..16])[0],
        rdp: words64(&legacy[16..24])[0],
        mxcsr: words32(&legacy[24..28])[0],
        mxcsr_mask: words32(&legacy[28..32])[0],
        st_space: words32(&legacy[32..160]),
        xmm_space: words32(&legacy[160..416]),
        ..UserX86FpregsEntry::default()
    };
    if let Some(header) = xstate.get(LEGACY_BYTES..LEGACY_BYTES + 8) {
        f.xsave = Some(extended(xstate, words64(header)[0]));
    }
    Some(f)
}

fn extended(xstate: &[u8], xstate_bv: u64) -> UserX86XsaveEntry {
    let mut x = UserX86XsaveEntry { xstate_bv, ..UserX86XsaveEntry::default() };
    for c in components() {
        // Components that this kernel keeps out of user state are not there.
        let Some(data) = xstate.get(c.offset..c.offset + c.bytes).filter(|_| c.offset != 0) else { continue };
        match c.number {
            number::AVX => x.ymmh_space = words32(data),
            number::BNDREGS => x.bndreg_state = words64(data),
            number::BNDCSR => x.bndcsr_state = words64(data),
            number::OPMASK => x.opmask_reg = words64(data),
            number::ZMM_UPPER => x.zmm_upper = words64(data),
            number::HI16_ZMM => x.hi16_zmm = words64(data),
            number::PKRU => x.pkru = words32(data),
            other if xstate_bv & 1 << other != 0 => {
                x.components.push(UserX86XsaveComponent { number: other, data: data.to_vec() });
            }
            _ => {}
        }
    }
    x
}

fn words32(bytes: &[u8]) -> Vec<u32> {
    bytes.as_chunks::<4>().0.iter().map(|w| u32::from_le_bytes(*w)).collect()
}

fn words64(bytes: &[u8]) -> Vec<u64> {
    bytes.as_chunks::<8>().0.iter().map(|w| u64::from_le_bytes(*w)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn regs(rax: i64, orig_rax: i64) -> Regs {
        // SAFETY: the structure is plain integers, for which zeros are values.
        let mut r: Regs = unsafe { std::mem::zeroed() };
        r.rax = rax as u64;
        r.orig_rax = orig_rax as u64;
        r.rip = 0x1002;
        r
    }

    #[test]
    fn interrupted_calls_are_made_again() {
        for e in [-512, -513, -514, -516] {
            let g = gpregs(&regs(e, 0x82), Abi::Native);
            assert_eq!((g.ax, g.orig_ax, g.ip), (0x82, 0x82, 0x1000));
            assert_eq!(g.restart, Some(-e as u32));
        }
        for (ax, orig) in [(-4, 0x82), (0, 0x82), (-514, -1)] {
            let g = gpregs(&regs(ax, orig), Abi::Native);
            assert_eq!((g.ax as i64, g.ip), (ax, 0x1002));
        }
    }

    #[test]
    fn components_land_in_their_fields() {
        let end = components().iter().map(|c| c.offset + c.bytes).max().unwrap_or(0).max(576);
        let mut bytes = vec![0u8; end];
        bytes[24..28].copy_from_slice(&8064u32.to_le_bytes());
        bytes[512] = 0xff;
        for c in components().iter().filter(|c| c.offset != 0) {
            bytes[c.offset..c.offset + c.bytes].fill(c.number as u8);
        }
        let f = fpregs(&bytes).unwrap();
        assert_eq!((f.mxcsr, f.st_space.len(), f.xmm_space.len()), (8064, 32, 64));
        let x = f.xsave.unwrap();
        assert_eq!(x.xstate_bv, 0xff);
        let has = |n: u32| components().iter().any(|c| c.number == n && c.offset != 0);
        assert_eq!(x.ymmh_space, if has(2) { vec![0x0202_0202; 64] } else { vec![] });
        assert_eq!(x.hi16_zmm, if has(7) { vec![0x0707_0707_0707_0707; 128] } else { vec![] });
        assert!(fpregs(&bytes[..100]).is_none());
    }
}
