use std::fs::File;

use criu_images::messages::CriuOpts;

use crate::file::tests::{Scratch, blockers, options, target};
use crate::sys::descriptor::borrow;
use crate::sys::lock::{Range, flock, set_range};
use crate::sys::trial::put;

fn setup() {
    let file = File::options().read(true).write(true).create(true).truncate(false).open(Scratch::path("file")).unwrap();
    // Both tell of the locks: there are only these two. Closing one of the file would release the second.
    put(file.try_clone().unwrap().into(), 30);
    put(file.into(), 31);
    flock(borrow(30), libc::F_RDLCK).unwrap();
    set_range(borrow(30), Range { r#type: libc::F_WRLCK, start: 3, len: 4 }, false).unwrap();
    crate::sys::trial::fork_sleeper(|| {});
}

#[test]
fn without_the_option_every_lock_is_refused_once() {
    let _scratch = Scratch::new();
    let found: Vec<String> = blockers(CriuOpts::default(), setup).iter().map(|b| b.to_string()).collect();
    assert_eq!(found.len(), 2, "{found:#?}");
    assert!(found.iter().all(|f| f.contains("fd 30") && f.contains("--file-locks")), "{found:#?}");
}

#[test]
fn with_it_they_are_saved_once() {
    let _scratch = Scratch::new();
    let images = tempfile::tempdir().unwrap();
    let options = options(images.path(), CriuOpts { file_locks: Some(true), ..CriuOpts::default() });
    let target = target(setup, || {});
    let (files, blockers) = target.collect(&options);
    assert_eq!(blockers, []);
    let dir = criu_images::ImageDir::new(options.images_dir.try_clone().unwrap());
    files.save_locks(&dir).unwrap();
    drop(files);
    let saved: Vec<criu_images::messages::FileLockEntry> = dir.read_all(criu_images::Kind::FileLocks, 0).unwrap();
    let shown: Vec<_> = saved.iter().map(|e| (e.flag, e.r#type, e.fd, e.start, e.len)).collect();
    assert_eq!(shown, [(super::FLOCK, 0, 30, 0, 0), (super::POSIX, 1, 30, 3, 4)]);
}
