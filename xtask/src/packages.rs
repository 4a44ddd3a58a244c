//! What tests and demo need from the system, installed by apt-get when it is missing.

use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use criu_tests::build::find_command;

use crate::workspace::run;

/// Command on PATH and the Debian package that has it.
pub type Need = (&'static str, &'static str);

pub const COMPILER: &[Need] = &[("gcc", "gcc"), ("pkg-config", "pkg-config")];

pub const TESTS: &[Need] = &[
    ("gcc", "gcc"),
    ("g++", "g++"),
    ("pkg-config", "pkg-config"),
    ("script", "bsdutils"),
    ("unshare", "util-linux"),
    ("mount", "mount"),
    ("setpriv", "util-linux"),
    ("python3", "python3-venv"),
    ("node", "nodejs"),
    ("java", "default-jre-headless"),
    ("javac", "default-jdk-headless"),
    ("redis-server", "redis-server"),
    ("memcached", "memcached"),
    ("nginx", "nginx-light"),
    ("tmux", "tmux"),
    ("psql", "postgresql"),
    // For 32-bit programs.
    ("/usr/lib32/libc.so", "gcc-multilib"),
];

/// Headers that no command stands for.
const HEADERS: &[Need] = &[("/usr/include/stdio.h", "libc6-dev")];

/// Installs what is missing, saying what. A package that cannot be had is no error here: what needs it is skipped by name.
pub fn install(needs: &[Need]) {
    let missing = |n: &&Need| {
        if n.0.starts_with('/') { !std::path::Path::new(n.0).exists() } else { find_command(n.0).is_none() }
    };
    let mut wanted: Vec<&str> = needs.iter().chain(HEADERS).filter(missing).map(|n| n.1).collect();
    wanted.sort_unstable();
    wanted.dedup();
    if wanted.is_empty() {
        return;
    }
    println!("installing: {}", wanted.join(" "));
    let apt = |args: &[&str]| {
        let mut command = Command::new("apt-get");
        command.args(args).env("DEBIAN_FRONTEND", "noninteractive");
        run(&mut command)
    };
    if let Err(e) = apt(&["-qq", "update"]) {
        println!("  {e}");
    }
    let idle = NoServices::begin();
    for package in wanted {
        if let Err(e) = apt(&["-qq", "-y", "--no-install-recommends", "install", package]) {
            println!("  {package} could not be installed: {e}");
        }
    }
    drop(idle);
}

/// Packages of servers do not start them while this lives. A machine's own rule stays.
struct NoServices {
    made: bool,
}

const SERVICE_POLICY: &str = "/usr/sbin/policy-rc.d";

impl NoServices {
    fn begin() -> NoServices {
        let there = std::path::Path::new(SERVICE_POLICY).exists();
        let rule = || {
            std::fs::write(SERVICE_POLICY, "#!/bin/sh\nexit 101\n")?;
            std::fs::set_permissions(SERVICE_POLICY, std::fs::Permissions::from_mode(0o755))
        };
        NoServices { made: !there && rule().is_ok() }
    }
}

impl Drop for NoServices {
    fn drop(&mut self) {
        if self.made {
            let _ = std::fs::remove_file(SERVICE_POLICY);
        }
    }
}
