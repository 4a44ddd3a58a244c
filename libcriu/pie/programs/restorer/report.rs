//! How a task says that it cannot go on.

use core::sync::atomic::Ordering;

use crate::abi::{Args, Step};
use crate::{call, control, wake};

/// Writes down the failure, unless another task was first, and ends the task.
pub(crate) fn fail(args: &Args, step: Step, errno: i64, detail: u64) -> ! {
    let control = control(args);
    if control.failed.compare_exchange(0, 1, Ordering::SeqCst, Ordering::SeqCst).is_ok() {
        let f = &control.failure;
        f.pid.store(args.pid as u32, Ordering::SeqCst);
        f.tid.store(call(186, [0; 6]) as u32, Ordering::SeqCst);
        f.step.store(step as u32, Ordering::SeqCst);
        f.errno.store((-errno) as u32, Ordering::SeqCst);
        f.detail.store(detail, Ordering::SeqCst);
        control.failed.store(2, Ordering::SeqCst);
        control.bell.fetch_add(1, Ordering::SeqCst);
        wake(&control.bell);
    }
    loop {
        call(231, [1, 0, 0, 0, 0, 0]);
    }
}

/// Fails unless `ret` is a success.
pub(crate) fn check(args: &Args, step: Step, ret: i64, detail: u64) {
    if ret < 0 {
        fail(args, step, ret, detail);
    }
}
