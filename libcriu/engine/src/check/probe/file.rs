//! Files: what /proc shows about descriptors, devices, mounts.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd};

use rustix::fs::{FlockOperation, MemfdFlags, Mode, OFlags, ResolveFlags};
use rustix::mount::FsOpenFlags;
use rustix::time::{TimerfdClockId, TimerfdFlags};

use super::{absent, fails_with, works};
use crate::check::Probe;
use crate::sys::probe as sys;

/// Whether the fdinfo of a descriptor has a line that begins so.
fn fdinfo_has(fd: impl AsFd, key: &str) -> Probe {
    let path = format!("/proc/self/fdinfo/{}", fd.as_fd().as_raw_fd());
    match fs::read_to_string(&path) {
        Ok(text) if text.lines().any(|l| l.starts_with(key)) => Probe::Present,
        Ok(_) => absent(format!("no `{key}` in {path}")),
        Err(e) => absent(format!("{path}: {e}")),
    }
}

pub fn mnt_id() -> Probe {
    match File::open("/proc/self/status") {
        Ok(file) => fdinfo_has(file, "mnt_id:"),
        Err(e) => absent(format!("/proc/self/status: {e}")),
    }
}

pub fn fdinfo_lock() -> Probe {
    let locked = rustix::fs::memfd_create("lock", MemfdFlags::CLOEXEC)
        .and_then(|file| rustix::fs::flock(&file, FlockOperation::LockExclusive).map(|()| file));
    match locked {
        Ok(file) => fdinfo_has(file, "lock:"),
        Err(e) => absent(format!("flock: {}", io::Error::from(e))),
    }
}

pub fn timerfd() -> Probe {
    match rustix::time::timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::CLOEXEC) {
        Err(e) => absent(format!("timerfd_create: {}", io::Error::from(e))),
        Ok(timer) => match fdinfo_has(&timer, "clockid:") {
            Probe::Present => works("ioctl(TFD_IOC_SET_TICKS)", sys::timerfd_set_ticks(timer)),
            missing => missing,
        },
    }
}

fn open_tun() -> Result<File, Probe> {
    File::options().read(true).write(true).open("/dev/net/tun").map_err(|e| absent(format!("/dev/net/tun: {e}")))
}

pub fn tun() -> Probe {
    open_tun().map_or_else(|p| p, |tun| works("ioctl(TUNGETFEATURES)", sys::tun_features(tun)))
}

pub fn tun_ns() -> Probe {
    match open_tun().map(sys::tun_device_namespace) {
        Err(missing) => missing,
        Ok(Ok(())) => Probe::Present,
        Ok(Err(e)) => fails_with("ioctl(TUNGETDEVNETNS)", &e, libc::EBADFD),
    }
}

pub fn autofs() -> Probe {
    works("fsopen(autofs)", rustix::mount::fsopen("autofs", FsOpenFlags::FSOPEN_CLOEXEC).map(drop))
}

pub fn openat2() -> Probe {
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let opened = rustix::fs::openat2(rustix::fs::CWD, "/", flags, Mode::empty(), ResolveFlags::NO_XDEV);
    works("openat2", opened.map(drop))
}

pub fn move_mount_set_group() -> Probe {
    fails_with("move_mount(MOVE_MOUNT_SET_GROUP)", &sys::move_mount_set_group(), libc::ENOENT)
}

pub fn apparmor_stacking() -> Probe {
    let path = "/sys/kernel/security/apparmor/features/domain/stack";
    match fs::read_to_string(path) {
        Ok(text) if text.trim() == "yes" => Probe::Present,
        Ok(text) => absent(format!("{path}: {}", text.trim())),
        Err(e) => absent(format!("{path}: {e}")),
    }
}

/// A file of an overlay is shown in /proc/PID/maps with the device and inode that stat gives. Looked at in a mount
/// namespace of a thread's own.
pub fn overlayfs_maps() -> Probe {
    let probe = std::thread::spawn(|| overlay_in_own_namespace().map_err(|(call, e)| format!("{call}: {e}")));
    match probe.join() {
        Ok(Ok(true)) => Probe::Present,
        Ok(Ok(false)) => absent("a mapped overlay file is shown with another device or inode"),
        Ok(Err(why)) => absent(why),
        Err(_) => absent("the probe failed"),
    }
}

fn overlay_in_own_namespace() -> Result<bool, (&'static str, io::Error)> {
    use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_change};
    fn at(call: &'static str) -> impl Fn(rustix::io::Errno) -> (&'static str, io::Error) {
        move |e| (call, e.into())
    }
    let io = |call: &'static str| move |e: io::Error| (call, e);
    crate::sys::probe::task::own_mount_namespace().map_err(io("unshare(CLONE_NEWNS)"))?;
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC).map_err(at("mount(MS_PRIVATE)"))?;
    mount("none", "/tmp", "tmpfs", MountFlags::empty(), None).map_err(at("mount(tmpfs)"))?;
    for dir in ["lower", "upper", "work", "merged"] {
        fs::create_dir(format!("/tmp/{dir}")).map_err(io("mkdir"))?;
    }
    File::create("/tmp/lower/file").and_then(|mut f| f.write_all(b"x")).map_err(io("write"))?;
    let options = c"lowerdir=/tmp/lower,upperdir=/tmp/upper,workdir=/tmp/work";
    mount("none", "/tmp/merged", "overlay", MountFlags::empty(), Some(options)).map_err(at("mount(overlay)"))?;
    let file = File::open("/tmp/merged/file").map_err(io("open"))?;
    let stat = rustix::fs::fstat(&file).map_err(at("fstat"))?;
    let maps = sys::memory::maps_while_mapped(&file).map_err(io("mmap"))?;
    let device = format!("{:02x}:{:02x}", rustix::fs::major(stat.st_dev), rustix::fs::minor(stat.st_dev));
    let shown = |line: &str| {
        let mut fields = line.split_whitespace().skip(3);
        fields.next() == Some(device.as_str()) && fields.next() == Some(stat.st_ino.to_string().as_str())
    };
    Ok(maps.lines().any(shown))
}
