//! Compiles the programs of `tests/c` as criu.pc says, against the headers and a fresh build of the library, and runs them.
//! Exit 0 is a pass; 77 is a skip, whose reason is the last line printed.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::{env, fs};

use criu_images::messages::{
    CoreEntry, CriuOpts, CriuPageServerInfo, CriuReq, CriuReqType, CriuVethPair, UnixSk, core_entry,
};
use criu_images::{ImageDir, Kind};
use prost::Message;

mod generator;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// A folder with lib/ and include/criu/, as installed.
fn stage() -> &'static Path {
    static STAGE: OnceLock<PathBuf> = OnceLock::new();
    STAGE.get_or_init(|| {
        let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let built = Command::new(cargo)
            .args(["build", "--quiet", "--package", "criu-capi"])
            .current_dir(root())
            .status()
            .expect("cargo runs");
        assert!(built.success(), "the library does not build");
        // target/debug/deps/c_programs-HASH
        let test = env::current_exe().expect("a path");
        let built = test.ancestors().nth(2).expect("target/debug");
        let stage = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("stage");
        let _ = fs::remove_dir_all(&stage);
        fs::create_dir_all(stage.join("lib")).expect("lib");
        fs::create_dir_all(stage.join("include")).expect("include");
        symlink(fs::canonicalize(root().join("include/criu")).expect("headers"), stage.join("include/criu"))
            .expect("link");
        fs::copy(built.join("libcriu.so"), stage.join("lib/libcriu.so.2.0")).expect("the shared library");
        fs::copy(built.join("libcriu.a"), stage.join("lib/libcriu.a")).expect("the static library");
        for name in ["libcriu.so.2", "libcriu.so"] {
            symlink("libcriu.so.2.0", stage.join("lib").join(name)).expect("link");
        }
        let pc = fs::read_to_string(root().join("pkgconfig/criu.pc.in")).expect("criu.pc.in");
        let pc = pc.replace("@PREFIX@", &stage.display().to_string()).replace("@VERSION@", "4.2");
        fs::write(stage.join("lib/criu.pc"), pc).expect("criu.pc");
        stage
    })
}

/// What criu.pc says; with `private`, for static linking.
fn flags(private: bool) -> Vec<String> {
    let out = Command::new("pkg-config")
        .args(["--cflags", "--libs"])
        .args(private.then_some("--static"))
        .arg("criu")
        .env("PKG_CONFIG_PATH", stage().join("lib"))
        .output()
        .expect("pkg-config runs");
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8_lossy(&out.stdout).split_whitespace().map(str::to_owned).collect()
}

fn compile(source: &str, program: &Path, linking: &[String]) {
    let source = root().join("tests/c").join(source); // an absolute path stays what it is
    let compiler = if source.extension().is_some_and(|e| e == "cpp") { "g++" } else { "gcc" };
    let out = Command::new(compiler)
        .args(["-O1", "-g", "-Wall", "-Wextra", "-Werror", "-o"])
        .arg(program)
        .arg(&source)
        .args(linking)
        .args(["-pthread", "-ldl"])
        .output()
        .expect("the compiler runs");
    assert!(out.status.success(), "{}: {}", source.display(), String::from_utf8_lossy(&out.stderr));
}

fn run(name: &str, program: &Path) {
    run_under(&[], name, program, &[]);
}

/// Runs the program as the argument of another.
fn run_under(tool: &[&str], name: &str, program: &Path, args: &[&Path]) {
    let room = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("room-{name}"));
    let _ = fs::remove_dir_all(&room);
    fs::create_dir_all(&room).expect("a folder");
    let out = Command::new("timeout")
        .args(["-k", "5", "120"])
        .args(tool)
        .arg(program)
        .args(args)
        .current_dir(&room)
        .env("LD_LIBRARY_PATH", stage().join("lib"))
        .output()
        .expect("the program runs");
    let text = format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    match out.status.code() {
        Some(0) => print!("{text}"),
        Some(77) => println!("SKIPPED {name}: {}", text.lines().last().unwrap_or_default()),
        _ => panic!("{name}: {}: {text}", out.status),
    }
}

fn shared(source: &str) {
    let name = source.replace('.', "_");
    let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join(&name);
    compile(source, &program, &flags(false));
    run(&name, &program);
}

#[test]
fn contract_in_c() {
    shared("contract_c.c");
}

#[test]
fn contract_in_cpp() {
    shared("contract_cpp.cpp");
}

#[test]
fn operations() {
    shared("operations.c");
}

/// The exported symbols are those of the contract, of criu-ext.h, those of rpc.proto, and three that CRIU exports without declaring them.
#[test]
fn exported_symbols() {
    let out = Command::new("nm")
        .args(["--dynamic", "--defined-only", "--format=posix"])
        .arg(stage().join("lib/libcriu.so.2"))
        .output()
        .expect("nm runs");
    let text = String::from_utf8_lossy(&out.stdout);
    let mut exported: Vec<&str> = text.lines().filter_map(|l| l.split(' ').next()).collect();
    exported.sort_unstable();
    let contract = fs::read_to_string(root().join("tests/contracts/libcriu-api.tsv")).expect("the contract");
    let ext = fs::read_to_string(root().join("include/criu/criu-ext.h")).expect("criu-ext.h");
    let declared = ext.lines().filter(|l| !l.trim_start().starts_with("//")).filter_map(|l| {
        let before = l.split_once('(')?.0;
        let name = before.rsplit([' ', '*']).next()?;
        name.starts_with("criu_").then_some(name)
    });
    let mut wanted: Vec<&str> = contract.lines().skip(1).filter_map(|l| l.split('\t').next()).chain(declared).collect();
    wanted.extend(["criu_lib_version", "criu_free_service", "criu_local_set_unprivileged"]);
    wanted.extend(["criu_set_lazy_pages", "criu_local_set_lazy_pages"]);
    let messages = generator::exports(&generator::rpc());
    wanted.extend(messages.iter().map(String::as_str));
    wanted.sort_unstable();
    wanted.dedup();
    assert_eq!(exported, wanted);
    let text = Command::new("readelf").args(["-d"]).arg(stage().join("lib/libcriu.so")).output().expect("readelf runs");
    assert!(String::from_utf8_lossy(&text.stdout).contains("Library soname: [libcriu.so.2]"));
}

#[test]
fn host() {
    shared("host.c");
}

#[test]
fn replaced_library() {
    shared("replaced.c");
}

/// A statically linked caller: a copy of the program is the worker when no `criu` is in PATH.
#[test]
fn static_library() {
    let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join("static_c");
    let mut linking = flags(true);
    for flag in &mut linking {
        if flag == "-lcriu" {
            "-l:libcriu.a".clone_into(flag);
        }
    }
    compile("static.c", &program, &linking);
    let out = Command::new("readelf").arg("-d").arg(&program).output().expect("readelf runs");
    assert!(!String::from_utf8_lossy(&out.stdout).contains("libcriu"), "it needs the shared library");
    run("static_c", &program);
}

#[test]
fn fake_service() {
    shared("fake_service.c");
}

#[test]
fn dump_and_restore() {
    shared("dump_restore.c");
}

#[test]
fn stopped_in_the_midst() {
    shared("cancelled.c");
}

#[test]
fn the_end_of_a_pipe() {
    shared("pipe_end.c");
}

/// A checkpoint made by CRIU 4.2, spoiled so that the root's core says something else of its machine.
fn spoiled(name: &str, spoil: impl Fn(&mut CoreEntry)) -> PathBuf {
    let to = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = fs::remove_dir_all(&to);
    fs::create_dir_all(&to).expect("a folder");
    let images = fs::read_dir(root().join("tests/golden/task")).expect("the checkpoint").flatten();
    for image in images.filter(|i| i.path().is_file()) {
        fs::copy(image.path(), to.join(image.file_name())).expect("an image");
        let file = image.file_name();
        let pid = file.to_str().and_then(|n| n.strip_prefix("core-")?.strip_suffix(".img")?.parse().ok());
        if let Some(pid) = pid {
            let dir = ImageDir::new(fs::File::open(&to).expect("the folder").into());
            let mut core: CoreEntry = dir.read_one(Kind::Core, pid).expect("a core");
            spoil(&mut core);
            dir.write_one(Kind::Core, pid, &core).expect("written");
        }
    }
    to
}

#[test]
fn bad_input() {
    let other_architecture = spoiled("other_architecture", |core| core.mtype = core_entry::March::Arm.into());
    // AMX tile data in use: hardly any machine has it, and none with the same layout by chance.
    let other_cpu = spoiled("other_cpu", |core| {
        let xsave = core.thread_info.as_mut().and_then(|t| t.fpregs.xsave.as_mut());
        xsave.expect("an xsave area").xstate_bv |= 1 << 18;
    });
    let cpu = fs::read_to_string("/proc/cpuinfo").expect("cpuinfo");
    if cpu.contains("amx_tile") {
        return println!("SKIPPED bad_input: this processor has AMX; no image can ask for more");
    }
    let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join("bad_input_c");
    compile("bad_input.c", &program, &flags(false));
    run_under(&[], "bad_input_c", &program, &[&other_architecture, &other_cpu]);
}

/// The request that `rpc_messages.c` builds.
fn request() -> CriuReq {
    let opts = CriuOpts {
        images_dir_fd: -1,
        pid: Some(-42),
        leave_running: Some(false),
        cpu_cap: Some(u32::MAX),
        ps: Some(CriuPageServerInfo { address: Some("10.0.0.1".into()), port: Some(65535), ..Default::default() }),
        veths: vec![CriuVethPair { if_in: "eth0".into(), if_out: "veth1".into() }],
        unix_sk_ino: vec![UnixSk { inode: u32::MAX }, UnixSk { inode: 0 }],
        external: vec!["mnt[/tmp]:tmp".into(), String::new(), "file[1:2]".into()],
        manage_cgroups_mode: Some(5),
        deadline_ms: Some(1 << 40),
        ..Default::default()
    };
    CriuReq { r#type: CriuReqType::Dump.into(), opts: Some(opts), notify_success: Some(true), ..Default::default() }
}

#[test]
fn rpc_messages() {
    let bytes = request().encode_to_vec();
    fs::write(Path::new(env!("CARGO_TARGET_TMPDIR")).join("criu_req.bin"), bytes).expect("the request");
    shared("rpc_messages.c");
    if Command::new("valgrind").arg("--version").output().is_err() {
        return println!("SKIPPED rpc_messages under valgrind: it is not installed");
    }
    let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join("rpc_messages_c");
    let tool = ["valgrind", "-q", "--error-exitcode=9", "--leak-check=full"];
    run_under(&tool, "rpc_messages_valgrind", &program, &[]);
}

/// Where a C compiler sees the fields is where the descriptors say. Without PIE the descriptors are copies.
#[test]
fn rpc_layout() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let source = folder.join("rpc_layout.c");
    fs::write(&source, generator::layout_check(&generator::rpc())).expect("the program");
    for (name, flag) in [("rpc_layout_pie", "-pie"), ("rpc_layout_no_pie", "-no-pie")] {
        let mut linking = flags(false);
        linking.extend([flag.to_owned(), if flag == "-pie" { "-fPIE" } else { "-fno-pie" }.to_owned()]);
        compile(&source.display().to_string(), &folder.join(name), &linking);
        run(name, &folder.join(name));
    }
}
