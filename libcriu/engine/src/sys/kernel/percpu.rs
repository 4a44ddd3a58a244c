//! What each CPU has one of: counters that many CPUs change without getting in each other's way.
//!
//! Such a thing has one address in the kernel, which is none in memory: a CPU's own is a distance away that the CPU has. The
//! kernel does not tell distances; a map of which each CPU has a value of its own gives both addresses of that.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use super::{
    ADD_NUMBER, Address, CALL, Context, EXIT, Kernel, LOAD, LOAD_MAP, MAP_CREATE, MOVE, MOVE_NUMBER, PROG_TYPE_SYSCALL,
    SLEEPABLE, STORE, STORE_NUMBER, bpf, instruction, run,
};
use crate::sys::descriptor::adopt;

const MAP_TYPE_PERCPU_ARRAY: u32 = 6;
/// As source register of `LOAD_MAP`: the map as such.
const MAP_ITSELF: u8 = 1;
const POSSIBLE: &str = "/sys/devices/system/cpu/possible";

/// References are counted by one number for all CPUs.
const IS_ATOMIC: u64 = 1;
/// Nothing is counted any more, or as with `IS_ATOMIC`.
const IS_DEAD: u64 = 2;
/// PERCPU_COUNT_BIAS: added to the one number while each CPU counts.
const BIAS: u64 = 1 << 63;

impl Kernel {
    /// How many references a `struct percpu_ref` counts. CPUs that change it meanwhile are seen before or after; where references
    /// are only given up, there are at most as many when this returns.
    ///
    /// # Errors
    /// Those of reading; EINVAL: the kernel does not tell of such memory (before Linux 5.19).
    pub(crate) fn references(&self, at: Address) -> io::Result<u64> {
        let pointer = self.number(at, "percpu_ref", "percpu_count_ptr")?;
        let data = self.number(at, "percpu_ref", "data")?;
        let shared = self.number(data, "percpu_ref_data", "count.counter")?;
        if pointer & (IS_ATOMIC | IS_DEAD) != 0 {
            return Ok(shared);
        }
        Ok(self.sum_of_all_cpus(pointer)?.wrapping_add(shared).wrapping_sub(BIAS))
    }

    /// What a `struct percpu_counter` counts.
    ///
    /// # Errors
    /// As above.
    pub(crate) fn counter(&self, at: Address) -> io::Result<i64> {
        let mut sum = self.number(at, "percpu_counter", "count")? as i64;
        for own in self.of_all_cpus::<4>(self.number(at, "percpu_counter", "counters")?)? {
            sum = sum.wrapping_add(i32::from_le_bytes(own).into());
        }
        Ok(sum)
    }

    /// The sum of the 64-bit numbers that CPUs have at `pointer`.
    fn sum_of_all_cpus(&self, pointer: Address) -> io::Result<u64> {
        let all = self.of_all_cpus::<8>(pointer)?.into_iter();
        Ok(all.fold(0, |sum, own| sum.wrapping_add(u64::from_le_bytes(own))))
    }

    /// The bytes that each CPU has at `pointer`.
    fn of_all_cpus<const BYTES: usize>(&self, pointer: Address) -> io::Result<Vec<[u8; BYTES]>> {
        let read = |distance: &u64| {
            let mut own = [0; BYTES];
            self.read(pointer.wrapping_add(*distance), &mut own).map(|()| own)
        };
        self.distances()?.iter().map(read).collect()
    }

    /// From the address to each CPU's own.
    fn distances(&self) -> io::Result<&[u64]> {
        if let Some(known) = self.distances.get() {
            return Ok(known);
        }
        let map = create_map()?;
        let program = load(&map)?;
        let in_kernel = self.number(self.file(map.as_fd())?, "file", "private_data")?;
        let mut pointer = [0; 8];
        self.read(self.place(in_kernel, "bpf_array", "pptrs")?, &mut pointer)?;
        let pointer = u64::from_le_bytes(pointer);
        let possible = std::fs::read_to_string(POSSIBLE)?;
        let cpus = numbers(&possible).ok_or_else(|| io::Error::from_raw_os_error(libc::EINVAL))?;
        let own = |cpu| match run(program.as_fd(), Context { address: cpu, ..Context::default() })?.address {
            0 => Err(io::Error::from_raw_os_error(libc::ENXIO)),
            own => Ok(own.wrapping_sub(pointer)),
        };
        let found = cpus.into_iter().map(own).collect::<io::Result<Vec<u64>>>()?;
        Ok(self.distances.get_or_init(|| found))
    }
}

/// The numbers in a list like `0-3,8`.
fn numbers(list: &str) -> Option<Vec<u64>> {
    let mut all = Vec::new();
    for part in list.trim().split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last): (u64, u64) = (first.parse().ok()?, last.parse().ok()?);
        all.extend(first..=last);
    }
    Some(all)
}

fn create_map() -> io::Result<OwnedFd> {
    let [kind, key, value, entries] = [MAP_TYPE_PERCPU_ARRAY, 4, 8, 1];
    bpf::call(MAP_CREATE, &mut [kind, key, value, entries, 0]).map(adopt)
}

/// Tells where the value is that a CPU has in the map.
fn load(map: &OwnedFd) -> io::Result<OwnedFd> {
    let code = [
        instruction(MOVE, 6, 1, 0, 0),
        instruction(LOAD, 3, 6, 8, 0),
        instruction(LOAD_MAP, 1, MAP_ITSELF, 0, map.as_raw_fd()),
        instruction(0, 0, 0, 0, 0),
        instruction(STORE_NUMBER, 10, 0, -8, 0),
        instruction(MOVE, 2, 10, 0, 0),
        instruction(ADD_NUMBER, 2, 0, 0, -8),
        // bpf_map_lookup_percpu_elem: of the map r1 the value with the key at r2, of the CPU r3 (Linux 5.19)
        instruction(CALL, 0, 0, 0, 195),
        instruction(STORE, 6, 0, 8, 0),
        instruction(MOVE_NUMBER, 0, 0, 0, 0),
        instruction(EXIT, 0, 0, 0, 0),
    ];
    let program = bpf::Program { kind: PROG_TYPE_SYSCALL, code: &code, flags: SLEEPABLE, ..bpf::Program::default() };
    program.load()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_cpus() {
        assert_eq!(numbers("0\n"), Some(vec![0]));
        assert_eq!(numbers("0-2,5,7-8\n"), Some(vec![0, 1, 2, 5, 7, 8]));
        assert_eq!(numbers("\n"), None);
    }

    #[test]
    fn what_all_cpus_have_is_added() {
        let kernel = match Kernel::open() {
            // Without the right, or a kernel that does not describe itself.
            Err(e) if matches!(e.raw_os_error(), Some(libc::EPERM | libc::ENOENT | libc::EINVAL)) => return,
            other => other.unwrap(),
        };
        // A map of the same kind holds what is added.
        let map = create_map().unwrap();
        let cpus = numbers(&std::fs::read_to_string(POSSIBLE).unwrap()).unwrap();
        let values: Vec<u8> = cpus.iter().flat_map(|cpu| (1000 + cpu).to_le_bytes()).collect();
        bpf::update(map.as_fd(), &[0; 4], &values).unwrap();
        let in_kernel = kernel.number(kernel.file(map.as_fd()).unwrap(), "file", "private_data").unwrap();
        let mut pointer = [0; 8];
        kernel.read(kernel.place(in_kernel, "bpf_array", "pptrs").unwrap(), &mut pointer).unwrap();
        let sum: u64 = cpus.iter().map(|cpu| 1000 + cpu).sum();
        assert_eq!(kernel.sum_of_all_cpus(u64::from_le_bytes(pointer)).unwrap(), sum);
    }
}
