//! A task's error on its way through the control page.

use std::sync::atomic::Ordering;

use criu_pie::abi::restorer::{Control, FAILURE_TEXT_BYTES, Step};

use super::task::fork_failed;
use crate::error::{Error, Phase, on_one_line};

const SEPARATOR: char = '\u{1f}';
const PHASES: [Phase; 6] = [Phase::Fork, Phase::Files, Phase::Memory, Phase::Threads, Phase::Load, Phase::Check];

/// As text for the control page.
pub(crate) fn encode(e: &Error) -> String {
    // A path may have more bytes than there is room: why it failed is said before that, and what would help.
    let object = on_one_line(&e.object);
    let object = match object.as_bytes() {
        long if long.len() > OBJECT_MAX_BYTES => {
            let (first, last) = (&long[..OBJECT_MAX_BYTES / 2], &long[long.len() - OBJECT_MAX_BYTES / 2..]);
            [String::from_utf8_lossy(first), "...".into(), String::from_utf8_lossy(last)].concat()
        }
        _ => object.into_owned(),
    };
    [e.phase.name(), &object, &on_one_line(&e.cause), &on_one_line(&e.hint)].join(&SEPARATOR.to_string())
}

/// Leaves room for cause and hint.
const OBJECT_MAX_BYTES: usize = FAILURE_TEXT_BYTES / 2;

/// The failure that a task has written down.
pub(crate) fn read(control: &Control) -> Error {
    let f = &control.failure;
    let pid = f.pid.load(Ordering::SeqCst) as i32;
    let errno = f.errno.load(Ordering::SeqCst) as i32;
    let step = f.step.load(Ordering::SeqCst);
    if step != 0 {
        let (tid, detail) = (f.tid.load(Ordering::SeqCst), f.detail.load(Ordering::SeqCst));
        if step == Step::Fork as u32 {
            return fork_failed(detail as i32, std::io::Error::from_raw_os_error(errno));
        }
        let cause = format!("cannot {} ({detail:#x}): {}", Step::text(step), std::io::Error::from_raw_os_error(errno));
        return Error::new(Phase::Threads, format!("thread {tid}"), cause).pid(pid);
    }
    let len = (f.text_len.load(Ordering::SeqCst) as usize).min(FAILURE_TEXT_BYTES);
    let bytes: Vec<u8> = f.text[..len].iter().map(|b| b.load(Ordering::Relaxed)).collect();
    let text = String::from_utf8_lossy(&bytes);
    let mut parts = text.splitn(4, SEPARATOR);
    let mut next = || parts.next().unwrap_or_default().to_owned();
    let (phase, object, cause, hint) = (next(), next(), next(), next());
    let phase = PHASES.into_iter().find(|p| p.name() == phase).unwrap_or(Phase::Fork);
    Error::new(phase, object, cause).pid(pid).hint(hint).errno(errno)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::control::SharedControl;

    #[test]
    fn arrives_as_it_was() {
        let control = SharedControl::new(1).unwrap();
        let e = Error::new(Phase::Files, "fd 7", "open: gone").hint("look").errno(2);
        control.fail(12, e.errno, &encode(&e));
        control.fail(13, 0, "the second is not kept");
        assert_eq!(control.get().failed.load(Ordering::SeqCst), 2);
        let read = read(control.get());
        assert_eq!(read.to_string(), "pid 12 fd 7: open: gone; look");
        assert_eq!((read.phase, read.errno), (Phase::Files, 2));
    }

    #[test]
    fn of_any_name() {
        let arrived = |object: String| {
            let control = SharedControl::new(1).unwrap();
            control.fail(12, 2, &encode(&Error::new(Phase::Files, object, "open: gone").hint("look")));
            read(control.get()).to_string()
        };
        assert_eq!(arrived("/a\u{1f}b".into()), "pid 12 /a\\u{1f}b: open: gone; look");
        let long = arrived(format!("/first{}last", "\u{fffd}".repeat(1365)));
        assert!(long.starts_with("pid 12 /first") && long.ends_with("last: open: gone; look"), "{long}");
        assert!(long.len() < 1200);
    }
}
