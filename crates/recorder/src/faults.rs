//! Fault points: places where a test lets this process die or stall, or an operation fail. Not in release builds.
//!
//! A plan is a list of `POINT[@FIRST[-LAST]]=ACTION`, separated by commas: from the FIRST time on that the point is reached
//! (the first one if not given) to the LAST (that time alone if not given; `@3-` goes on for ever), ACTION happens: `kill`
//! (SIGKILL), `hang`, or an error of the operating system: `eio`, `enospc`, `erofs`. The tests in `e2e` go through all points.

use std::io;

/// Every point, in the order in which a call meets them.
pub const POINTS: [&str; 26] = [
    // The life of a call.
    "call.decided",
    "call.opened",
    "call.answered",
    "call.closed",
    // Large payloads.
    "spool.create",
    "spool.sync",
    "spool.name",
    "spool.named",
    // The write-ahead log.
    "wal.prepare",
    "wal.prepared",
    "wal.rotate",
    "wal.write",
    "wal.sync",
    "wal.synced",
    // Publishing.
    "pack.create",
    "pack.write",
    "pack.sync",
    "pack.finish",
    "tile.write",
    "tile.sync",
    "checkpoint.list",
    "checkpoint.replace",
    "checkpoint.replaced",
    "partial.remove",
    "state.save",
    "segment.remove",
];

/// Why a plan is none.
#[derive(Debug, thiserror::Error)]
#[error("`{plan}` is no fault plan: {why}; the points are {}", POINTS.join(", "))]
pub struct PlanError {
    plan: String,
    why: &'static str,
}

#[cfg(debug_assertions)]
pub use armed::{arm, at};
#[cfg(not(debug_assertions))]
pub use disarmed::{arm, at};

/// A point where nothing can fail but the process can end.
pub fn reach(point: &'static str) {
    // An error has no place to go here.
    let _ = at(point);
}

#[cfg(not(debug_assertions))]
mod disarmed {
    use super::{PlanError, io};

    /// Refuses: a release build has no fault points.
    ///
    /// # Errors
    /// Always.
    pub fn arm(plan: &str) -> Result<(), PlanError> {
        Err(PlanError { plan: plan.to_owned(), why: "this build has no fault points" })
    }

    /// Nothing.
    ///
    /// # Errors
    /// Never.
    #[inline(always)]
    pub fn at(_: &'static str) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(debug_assertions)]
mod armed {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    use rustix::io::Errno;
    use rustix::process::{Signal, getpid, kill_process};

    use super::{POINTS, PlanError, io};

    static PLAN: OnceLock<Vec<Fault>> = OnceLock::new();

    #[derive(Debug)]
    struct Fault {
        point: String,
        first: u64,
        last: u64,
        action: Action,
        reached: AtomicU64,
    }

    #[derive(Debug, Clone, Copy)]
    enum Action {
        Kill,
        Hang,
        Fail(Errno),
    }

    /// Makes the plan that of this process, which can have one.
    ///
    /// # Errors
    /// When it cannot be read, or there is one already.
    pub fn arm(plan: &str) -> Result<(), PlanError> {
        let fail = |why| PlanError { plan: plan.to_owned(), why };
        let faults: Result<Vec<Fault>, &'static str> = plan.split(',').map(parse).collect();
        PLAN.set(faults.map_err(fail)?).map_err(|_| fail("there is one already"))
    }

    fn parse(fault: &str) -> Result<Fault, &'static str> {
        let (place, action) = fault.split_once('=').ok_or("there is no action")?;
        let (point, times) = place.split_once('@').unwrap_or((place, "1"));
        if !POINTS.contains(&point) {
            return Err("there is no such point");
        }
        let number = |text: &str| text.parse::<u64>().map_err(|_| "the times are numbers");
        let (first, last) = match times.split_once('-') {
            None => (number(times)?, number(times)?),
            Some((first, "")) => (number(first)?, u64::MAX),
            Some((first, last)) => (number(first)?, number(last)?),
        };
        let action = match action {
            "kill" => Action::Kill,
            "hang" => Action::Hang,
            "eio" => Action::Fail(Errno::IO),
            "enospc" => Action::Fail(Errno::NOSPC),
            "erofs" => Action::Fail(Errno::ROFS),
            _ => return Err("the actions are kill, hang, eio, enospc, erofs"),
        };
        Ok(Fault { point: point.to_owned(), first, last, action, reached: AtomicU64::new(0) })
    }

    /// What the plan has for this point and time.
    ///
    /// # Errors
    /// The plan's.
    pub fn at(point: &'static str) -> io::Result<()> {
        debug_assert!(POINTS.contains(&point), "{point} is not in the list");
        let faults = PLAN.get().map(Vec::as_slice).unwrap_or_default();
        for fault in faults.iter().filter(|fault| fault.point == point) {
            let time = fault.reached.fetch_add(1, Ordering::Relaxed) + 1;
            if (fault.first..=fault.last).contains(&time) {
                act(fault.action)?;
            }
        }
        Ok(())
    }

    fn act(action: Action) -> io::Result<()> {
        match action {
            Action::Kill => {
                // Nothing after the signal is to run, in this thread either.
                let _ = kill_process(getpid(), Signal::KILL);
                forever()
            }
            Action::Hang => forever(),
            Action::Fail(errno) => Err(errno.into()),
        }
    }

    fn forever() -> ! {
        loop {
            std::thread::park();
        }
    }
}
