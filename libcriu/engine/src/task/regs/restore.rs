//! Builds the register sets of a thread from its image.

use criu_compel::arch::{CS_COMPAT, CS_NATIVE};
use criu_images::messages::{ThreadInfoX86, UserX86FpregsEntry, UserX86RegsMode, UserX86XsaveEntry};
use libc::user_regs_struct;

use super::{ASKED_FOR, SYSCALL_BYTES};
use crate::sys::cpu;
use crate::task::segments;

/// Bytes of the legacy area (fxsave) and of the header behind it.
const LEGACY: usize = 512;
const HEADER: usize = 64;

const COMPONENT_NAMES: &[(u32, &str)] = &[
    (2, "AVX"),
    (3, "MPX"),
    (4, "MPX"),
    (5, "AVX-512 (opmask)"),
    (6, "AVX-512 (ZMM_Hi256)"),
    (7, "AVX-512 (Hi16_ZMM)"),
    (9, "protection keys"),
    (11, "shadow stacks"),
    (17, "AMX (tile configuration)"),
    (18, "AMX (tile data)"),
    (19, "APX"),
];

/// The name of an xsave component.
pub fn component_name(number: u32) -> String {
    let known = COMPONENT_NAMES.iter().find(|(n, _)| *n == number);
    known.map_or_else(|| format!("xsave component {number}"), |(_, name)| (*name).to_owned())
}

/// The name of the first of these components (by bits).
pub(super) fn first_of(components: u64) -> Option<String> {
    (components != 0).then(|| component_name(components.trailing_zeros()))
}

/// Why the state cannot be restored on this machine; `None` when it can.
pub fn refusal(info: &ThreadInfoX86) -> Option<String> {
    let code = match info.gpregs.mode() {
        UserX86RegsMode::Native => CS_NATIVE,
        UserX86RegsMode::Compat => CS_COMPAT,
    };
    if info.gpregs.cs != code {
        return Some(format!("it ran code of segment {:#x}", info.gpregs.cs));
    }
    if let Some(why) = segments::refusal(&info.tls) {
        return Some(why);
    }
    let xsave = info.fpregs.xsave.as_ref()?;
    if xsave.cet.as_ref().is_some_and(|c| c.cet != 0 || c.ssp != 0) {
        return Some("it used a shadow stack".into());
    }
    beyond(xsave.xstate_bv, cpu::xstate_enabled()).or_else(|| xstate(&info.fpregs, 0).err())
}

/// Why what is `used` cannot be restored where these components are `enabled`.
fn beyond(used: u64, enabled: u64) -> Option<String> {
    let lacks = first_of(used & !enabled).map(|name| format!("this processor lacks {name}"));
    lacks.or_else(|| first_of(used & ASKED_FOR).map(|name| format!("it used {name}; this cannot be restored")))
}

/// The general registers, to be set at an event stop. CRIU's images hold registers from which a thread goes on by itself; where
/// ours say how a system call was interrupted, it is the kernel that makes the call again, or lets it end with EINTR when a
/// handler runs first.
pub fn registers(info: &ThreadInfoX86) -> user_regs_struct {
    let r = &info.gpregs;
    let mut regs = user_regs_struct {
        r15: r.r15,
        r14: r.r14,
        r13: r.r13,
        r12: r.r12,
        rbp: r.bp,
        rbx: r.bx,
        r11: r.r11,
        r10: r.r10,
        r9: r.r9,
        r8: r.r8,
        rax: r.ax,
        rcx: r.cx,
        rdx: r.dx,
        rsi: r.si,
        rdi: r.di,
        orig_rax: u64::MAX,
        rip: r.ip,
        cs: r.cs,
        eflags: r.flags,
        rsp: r.sp,
        ss: r.ss,
        fs_base: r.fs_base,
        gs_base: r.gs_base,
        ds: r.ds,
        es: r.es,
        fs: r.fs,
        gs: r.gs,
    };
    if r.mode() == UserX86RegsMode::Compat {
        // Such code sets it by the segment alone; images of CRIU leave it out.
        regs.gs_base = segments::base(&info.tls, r.gs).unwrap_or(r.gs_base);
        regs.fs_base = segments::base(&info.tls, r.fs).unwrap_or(r.fs_base);
    }
    if let Some(error @ (512..=514 | 516)) = r.restart
        && r.ax == r.orig_ax
    {
        // What the kernel kept for a restart block is gone.
        let error = if error == ERESTART_RESTARTBLOCK { ERESTARTNOHAND } else { error };
        regs.orig_rax = r.orig_ax;
        regs.rax = i64::from(error).wrapping_neg() as u64;
        regs.rip = r.ip.wrapping_add(SYSCALL_BYTES);
    }
    regs
}

const ERESTARTNOHAND: u32 = 514;
const ERESTART_RESTARTBLOCK: u32 = 516;

/// The extended state in the standard form, at least `len` bytes long.
///
/// # Errors
/// In words: a component is announced but not there, or has another size than this processor's.
pub fn xstate(f: &UserX86FpregsEntry, len: usize) -> Result<Vec<u8>, String> {
    let mut bytes = vec![0; len.max(LEGACY + HEADER)];
    put(&mut bytes, 0, &(f.cwd as u16).to_le_bytes());
    put(&mut bytes, 2, &(f.swd as u16).to_le_bytes());
    put(&mut bytes, 4, &(f.twd as u16).to_le_bytes());
    put(&mut bytes, 6, &(f.fop as u16).to_le_bytes());
    put(&mut bytes, 8, &f.rip.to_le_bytes());
    put(&mut bytes, 16, &f.rdp.to_le_bytes());
    put(&mut bytes, 24, &f.mxcsr.to_le_bytes());
    put(&mut bytes, 28, &f.mxcsr_mask.to_le_bytes());
    let (st, xmm) = (words(&f.st_space), words(&f.xmm_space));
    if st.len() > 128 || xmm.len() > 256 {
        return Err("its x87 or SSE registers are too many".into());
    }
    put(&mut bytes, 32, &st);
    put(&mut bytes, 160, &xmm);
    let Some(x) = &f.xsave else {
        // An image from before xsave: x87 and SSE are in use.
        put(&mut bytes, LEGACY, &3_u64.to_le_bytes());
        return Ok(bytes);
    };
    put(&mut bytes, LEGACY, &x.xstate_bv.to_le_bytes());
    for number in (2..63).filter(|n| x.xstate_bv >> n & 1 == 1) {
        let name = component_name(number);
        let place = cpu::xstate_component(number).ok_or_else(|| format!("this processor lacks {name}"))?;
        let data = component(x, number).filter(|d| !d.is_empty());
        let data = data.ok_or_else(|| format!("its state of {name} is not in the image"))?;
        // The protection key register is 4 bytes in an area of 8.
        if data.len() != place.len && !(number == 9 && data.len() < place.len) {
            return Err(format!("its state of {name} has {} bytes, this processor's {}", data.len(), place.len));
        }
        put(&mut bytes, place.offset, &data);
    }
    Ok(bytes)
}

/// Gives up what is in its first state whatever stands there: of thousands of threads it is most of what is known.
pub fn slim(info: &mut ThreadInfoX86) {
    let Some(x) = &mut info.fpregs.xsave else { return };
    let used = x.xstate_bv;
    give_up(used, 2, &mut x.ymmh_space);
    for (number, place) in [
        (3, &mut x.bndreg_state),
        (4, &mut x.bndcsr_state),
        (5, &mut x.opmask_reg),
        (6, &mut x.zmm_upper),
        (7, &mut x.hi16_zmm),
    ] {
        give_up(used, number, place);
    }
}

fn give_up<T>(used: u64, number: u32, component: &mut Vec<T>) {
    if used >> number & 1 == 0 {
        *component = Vec::new();
    }
}

fn component(x: &UserX86XsaveEntry, number: u32) -> Option<Vec<u8>> {
    Some(match number {
        2 => words(&x.ymmh_space),
        3 => longs(&x.bndreg_state),
        4 => longs(&x.bndcsr_state),
        5 => longs(&x.opmask_reg),
        6 => longs(&x.zmm_upper),
        7 => longs(&x.hi16_zmm),
        9 => words(&x.pkru),
        n => x.components.iter().find(|c| c.number == n)?.data.clone(),
    })
}

fn words(values: &[u32]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_le_bytes()).collect()
}

fn longs(values: &[u64]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_le_bytes()).collect()
}

fn put(bytes: &mut Vec<u8>, at: usize, data: &[u8]) {
    // Offsets are this processor's own, far below the size of any area.
    if bytes.len() < at + data.len() {
        bytes.resize(at + data.len(), 0);
    }
    bytes[at..at + data.len()].copy_from_slice(data);
}

#[cfg(test)]
mod tests {
    use criu_images::messages::{UserX86CetEntry, UserX86XsaveComponent};

    use super::*;

    /// A thread of 64-bit code that uses x87, SSE and what `change` makes of it.
    fn thread(change: impl FnOnce(&mut UserX86XsaveEntry)) -> ThreadInfoX86 {
        let mut info = ThreadInfoX86::default();
        info.gpregs.cs = CS_NATIVE;
        let mut x = UserX86XsaveEntry { xstate_bv: 3, ..UserX86XsaveEntry::default() };
        change(&mut x);
        info.fpregs.xsave = Some(x);
        info
    }

    #[test]
    fn shadow_stacks_are_refused() {
        assert_eq!(refusal(&thread(|_| {})), None);
        let off = UserX86CetEntry { cet: 0, ssp: 0 };
        assert_eq!(refusal(&thread(|x| x.cet = Some(off))), None);
        for cet in [UserX86CetEntry { cet: 1, ssp: 0 }, UserX86CetEntry { cet: 0, ssp: 0x7fff_0000 }] {
            let why = refusal(&thread(|x| x.cet = Some(cet))).unwrap();
            assert!(why.contains("shadow stack"), "{why}");
        }
    }

    #[test]
    fn components_beyond_the_processor_or_to_be_asked_for_are_refused() {
        let (with_amx, usual) = (0x602e7, 0xe7);
        assert_eq!(beyond(0xe7, usual), None);
        assert_eq!(beyond(0x602e7, usual).unwrap(), "this processor lacks protection keys");
        assert_eq!(beyond(0x400e7, usual).unwrap(), "this processor lacks AMX (tile data)");
        assert_eq!(beyond(0x400e7, with_amx).unwrap(), "it used AMX (tile data); this cannot be restored");
        // The tile configuration alone is as any other component.
        assert_eq!(beyond(0x202e7, with_amx), None);
        assert_eq!(beyond(1 << 11 | 3, usual).unwrap(), "this processor lacks shadow stacks");
        // Whatever this machine has, tile data are not restored.
        let data = UserX86XsaveComponent { number: 18, data: vec![1; 8192] };
        let why = refusal(&thread(|x| (x.xstate_bv, x.components) = (1 << 18 | 3, vec![data])));
        assert!(why.unwrap().contains("AMX (tile data)"));
    }

    #[test]
    fn only_what_is_in_use_is_kept() {
        let x = UserX86XsaveEntry {
            xstate_bv: 1 << 2 | 3,
            ymmh_space: vec![7; 64],
            zmm_upper: vec![8; 64],
            hi16_zmm: vec![9; 128],
            pkru: vec![1],
            ..UserX86XsaveEntry::default()
        };
        let mut info = ThreadInfoX86::default();
        info.fpregs.xsave = Some(x);
        let before = xstate(&info.fpregs, 0);
        slim(&mut info);
        let kept = info.fpregs.xsave.as_ref().unwrap();
        assert_eq!((kept.ymmh_space.len(), kept.zmm_upper.len(), kept.hi16_zmm.len()), (64, 0, 0));
        assert_eq!(xstate(&info.fpregs, 0), before);
        assert!(before.is_ok());
    }
}
