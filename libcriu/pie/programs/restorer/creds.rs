//! One thread's credentials. They only ever get fewer, so the order is: ids while capabilities are kept, the inheritable set
//! while the bounding set is whole, the bounding set, ambient ones, the secure bits, and the final sets at the end.

use crate::abi::{Args, Creds, Step};
use crate::report::check;
use crate::{call, slice};

const SYS_SETRESUID: i64 = 117;
const SYS_GETRESUID: i64 = 118;
const SYS_SETRESGID: i64 = 119;
const SYS_GETGROUPS: i64 = 115;
const SYS_SETGROUPS: i64 = 116;
const SYS_SETFSUID: i64 = 122;
const SYS_SETFSGID: i64 = 123;
const SYS_CAPGET: i64 = 125;
const SYS_CAPSET: i64 = 126;
const SYS_PRCTL: i64 = 157;
const PR_CAPBSET_READ: u64 = 23;
const PR_CAPBSET_DROP: u64 = 24;
const PR_GET_SECUREBITS: u64 = 27;
const PR_SET_SECUREBITS: u64 = 28;
const PR_CAP_AMBIENT: u64 = 47;
const PR_CAP_AMBIENT_RAISE: u64 = 2;
const PR_CAP_AMBIENT_CLEAR_ALL: u64 = 4;
/// SECBIT_NO_SETUID_FIXUP: a change of user ids leaves capabilities alone.
const KEEP_OVER_SETUID: u64 = 4;
const CAP_VERSION_3: u32 = 0x2008_0522;

/// struct __user_cap_data_struct, low word then high.
type CapData = [[u32; 3]; 2];

pub(crate) fn set(args: &Args, c: &Creds) {
    // Without privileges both calls are refused, even when they change nothing.
    if !has_uids(c) {
        securebits(args, KEEP_OVER_SETUID);
    }
    let groups = slice::<u32>(args, c.groups);
    if !has_groups(groups) {
        let a = [c.groups.count, groups.as_ptr() as u64, 0, 0, 0, 0];
        check(args, Step::Groups, call(SYS_SETGROUPS, a), c.groups.count);
    }
    let [r, e, s] = c.gids.map(u64::from);
    check(args, Step::Gids, call(SYS_SETRESGID, [r, e, s, 0, 0, 0]), e);
    call(SYS_SETFSGID, [c.fsgid.into(), 0, 0, 0, 0, 0]);
    let [r, e, s] = c.uids.map(u64::from);
    check(args, Step::Uids, call(SYS_SETRESUID, [r, e, s, 0, 0, 0]), e);
    call(SYS_SETFSUID, [c.fsuid.into(), 0, 0, 0, 0, 0]);

    let header: [u32; 2] = [CAP_VERSION_3, 0];
    let mut now: CapData = [[0; 3]; 2];
    let ret = call(SYS_CAPGET, [header.as_ptr() as u64, now.as_mut_ptr() as u64, 0, 0, 0, 0]);
    check(args, Step::Caps, ret, 0);
    // SAFETY: a live local; the kernel has written to it behind the compiler's back.
    let now = unsafe { (&raw const now).read_volatile() };
    let widest = [0, 1].map(|i| [now[i][1], now[i][1], c.inheritable[i]]);
    capset(args, &header, &widest);
    for cap in 0..=c.last_cap {
        if !holds(&c.bounding, cap) && call(SYS_PRCTL, [PR_CAPBSET_READ, cap.into(), 0, 0, 0, 0]) == 1 {
            check(args, Step::Bounding, call(SYS_PRCTL, [PR_CAPBSET_DROP, cap.into(), 0, 0, 0, 0]), cap.into());
        }
    }
    call(SYS_PRCTL, [PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0, 0]);
    for cap in 0..=c.last_cap {
        if holds(&c.ambient, cap) {
            let ret = call(SYS_PRCTL, [PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, cap.into(), 0, 0, 0]);
            check(args, Step::Ambient, ret, cap.into());
        }
    }
    securebits(args, c.securebits.into());
    let last = [0, 1].map(|i| [c.effective[i], c.permitted[i], c.inheritable[i]]);
    capset(args, &header, &last);
}

/// Whether the thread's user ids are these already.
fn has_uids(c: &Creds) -> bool {
    let now = [0u32; 3];
    let at = now.as_ptr() as u64;
    call(SYS_GETRESUID, [at, at + 4, at + 8, 0, 0, 0]) == 0 && is_equal(&now, &c.uids)
}

/// Whether the thread's groups are these already; false for more than are looked at here.
fn has_groups(groups: &[u32]) -> bool {
    let now = [0u32; 16];
    let count = call(SYS_GETGROUPS, [now.len() as u64, now.as_ptr() as u64, 0, 0, 0, 0]);
    count == groups.len() as i64 && is_equal(&now, groups)
}

/// Whether `now`, which the kernel has written to behind the compiler's back, begins with `wanted`.
fn is_equal(now: &[u32], wanted: &[u32]) -> bool {
    // SAFETY: a reference is valid for reads.
    now.iter().zip(wanted).all(|(a, b)| unsafe { (&raw const *a).read_volatile() } == *b)
}

fn holds(set: &[u32; 2], cap: u32) -> bool {
    (u64::from(set[0]) | u64::from(set[1]) << 32) >> (cap & 63) & 1 == 1
}

fn securebits(args: &Args, bits: u64) {
    if call(SYS_PRCTL, [PR_GET_SECUREBITS, 0, 0, 0, 0, 0]) != bits as i64 {
        check(args, Step::Securebits, call(SYS_PRCTL, [PR_SET_SECUREBITS, bits, 0, 0, 0, 0]), bits);
    }
}

fn capset(args: &Args, header: &[u32; 2], data: &CapData) {
    let ret = call(SYS_CAPSET, [header.as_ptr() as u64, data.as_ptr() as u64, 0, 0, 0, 0]);
    check(args, Step::Caps, ret, u64::from(data[0][1]) | u64::from(data[1][1]) << 32);
}
