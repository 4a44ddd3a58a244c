//! Makes a context, moves its ring into place and brings it to where it was: by as many requests for nothing as the ring has
//! seen completions, of which those are left that nobody had taken.

use std::io;
use std::os::fd::AsFd;

use rustix::fs::MemfdFlags;

use super::{EVENT_BYTES, HEAD_BYTES, Head};
use crate::error::{Error, Phase, Result};
use crate::mem::vma::restore::Area;
use crate::sys::aio::{BATCH, Context};
use crate::sys::mapping::Mapped;

/// Where the head has the number of the next completion to be taken.
const HEAD_AT: u64 = 8;

/// A context that is to be made.
#[derive(Debug)]
pub struct Ring<'a> {
    area: &'a Area,
    requests: u32,
    /// Room for it.
    place: Mapped,
    saved: Vec<u8>,
    head: Head,
}

impl<'a> Ring<'a> {
    /// `saved`: the ring's bytes.
    ///
    /// # Errors
    /// They are no ring's.
    pub fn new(area: &'a Area, requests: u32, place: Mapped, saved: Vec<u8>) -> Result<Ring<'a>> {
        let head = Head::of(&saved).filter(|h| h.is_sound(area.len()) && saved.len() as u64 == area.len());
        let head = head.ok_or_else(|| error(area, "its pages in the image are no ring's".into()))?;
        Ok(Ring { area, requests, place, saved, head })
    }

    /// The order in which a process has made its contexts.
    pub fn number(&self) -> u32 {
        self.head.id
    }

    /// # Errors
    /// The call that failed, or this machine makes other rings.
    pub fn make(&self) -> Result<()> {
        let failed = |call: &'static str| move |e: io::Error| Error::os(Phase::Memory, name(self.area), call, e);
        let mut context = self.set_up()?;
        context.move_to(self.place).map_err(failed("mremap"))?;
        let (head, tail) = (self.head.head % self.head.events, self.head.tail);
        // Those left cross the end of the ring when the tail is before the head.
        let left = if head <= tail { tail - head } else { self.head.events - head + tail };
        if head + left > 0 {
            // Requests are counted by CPU.
            let _cpu = criu_compel::Pin::here();
            let nothing = rustix::fs::memfd_create("nothing", MemfdFlags::CLOEXEC);
            let nothing = nothing.map_err(|e| failed("memfd_create")(e.into()))?;
            let submit = |count| context.read_nothing(nothing.as_fd(), count).map_err(failed("io_submit"));
            in_batches(head, |count| {
                let taken = context.take(submit(count)?).map_err(failed("io_getevents"))?;
                Ok(taken)
            })?;
            in_batches(left, submit)?;
        }
        self.put_back()
    }

    fn set_up(&self) -> Result<Context> {
        let context = self.set_up_for(self.requests)?;
        if self.is_alike(&context) {
            return Ok(context);
        }
        // The kernel makes room for twice the requests; with few of them, that depends on the number of CPUs.
        let failed = |e| Error::os(Phase::Memory, name(self.area), "io_destroy", e);
        context.destroy().map_err(failed)?;
        let context = self.set_up_for((self.head.events - 2) / 2)?;
        if self.is_alike(&context) {
            return Ok(context);
        }
        context.destroy().map_err(failed)?;
        Err(error(self.area, format!("this machine does not make rings of {} completions", self.head.events))
            .hint("restore on a machine with as many CPUs or fewer"))
    }

    fn set_up_for(&self, requests: u32) -> Result<Context> {
        Context::set_up(requests).map_err(|e| {
            let is_limit = e.raw_os_error() == Some(libc::EAGAIN);
            let e = Error::os(Phase::Memory, name(self.area), "io_setup", e);
            if is_limit { e.hint("raise the sysctl fs.aio-max-nr") } else { e }
        })
    }

    fn is_alike(&self, context: &Context) -> bool {
        Head::of(&context.ring(HEAD_BYTES).bytes(HEAD_BYTES as usize)).is_some_and(|h| h.events == self.head.events)
    }

    /// The completions as they were, and the head as the program has left it.
    fn put_back(&self) -> Result<()> {
        let failed = |e| Error::os(Phase::Memory, name(self.area), "writing to it", e);
        let now = Head::of(&self.place.bytes(HEAD_BYTES as usize));
        let events = self.head.events;
        if now.is_none_or(|now| now.tail != self.head.tail) {
            return Err(error(self.area, format!("it does not come to where it was: {now:?}, not {:?}", self.head)));
        }
        let all = HEAD_BYTES..HEAD_BYTES + u64::from(events) * EVENT_BYTES;
        let head = HEAD_AT..HEAD_AT + 4;
        for part in [all, head] {
            let bytes = self.saved.get(part.start as usize..part.end as usize).unwrap_or_default();
            self.place.part(part.start, part.end - part.start).fill(bytes).map_err(failed)?;
        }
        Ok(())
    }
}

/// Calls `some` with what is left of `count` until nothing is; it tells how many it has done.
fn in_batches(count: u32, mut some: impl FnMut(usize) -> Result<usize>) -> Result<()> {
    let mut left = count as usize;
    while left > 0 {
        left = left.saturating_sub(some(left.min(BATCH))?);
    }
    Ok(())
}

fn name(area: &Area) -> String {
    format!("aio ring {:#x}-{:#x}", area.start, area.end)
}

fn error(area: &Area, why: String) -> Error {
    Error::new(Phase::Memory, name(area), why)
}
