//! Reading the clocks, and timers that wake the poller.

use crate::core::time::{Boot, Now, Wall};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use nix::time::{ClockId as Clock, clock_gettime};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::OnceLock;
use std::time::Duration;

/// Both clocks now.
pub fn now() -> Now {
    Now {
        boot: Boot(nanos(Clock::CLOCK_BOOTTIME)),
        wall: Wall(i64::try_from(nanos(Clock::CLOCK_REALTIME)).unwrap_or(i64::MAX)),
    }
}

/// The wall clock now.
pub fn wall() -> Wall {
    now().wall
}

/// The zone that this process found when it began.
static ZONE: OnceLock<TimeZone> = OnceLock::new();

/// Finds out which zone is the local one. For the first thread: to read the description of a zone takes more stack
/// than the others have.
pub fn learn_zone() {
    ZONE.get_or_init(TimeZone::system);
}

/// By how many seconds local time is ahead of UTC at an instant. Where nobody has asked for the zone, it is UTC.
pub fn zone(at: Wall) -> i32 {
    let stamp = Timestamp::from_nanosecond(i128::from(at.0)).unwrap_or_default();
    ZONE.get().map_or(0, |zone| zone.to_offset(stamp).seconds())
}

/// Microseconds on CLOCK_MONOTONIC, which sd_notify(3) wants with RELOADING=1.
pub fn monotonic_usec() -> u64 {
    nanos(Clock::CLOCK_MONOTONIC) / 1000
}

fn nanos(clock: Clock) -> u64 {
    // clock_gettime(2) fails only for clocks that the kernel lacks; CLOCK_BOOTTIME is there since 2.6.39.
    clock_gettime(clock).map_or(0, |t| {
        u64::try_from(Duration::from(t).as_nanos()).unwrap_or(u64::MAX)
    })
}

/// A descriptor that becomes readable at a deadline.
#[derive(Debug)]
pub struct Timer {
    timer: TimerFd,
    flags: TimerSetTimeFlags,
    armed: Option<u64>,
}

impl Timer {
    /// A timer on CLOCK_BOOTTIME.
    pub fn boot() -> io::Result<Self> {
        Self::new(
            ClockId::CLOCK_BOOTTIME,
            TimerSetTimeFlags::TFD_TIMER_ABSTIME,
        )
    }

    /// A timer on CLOCK_REALTIME that also wakes when somebody sets the clock (timerfd_create(2)).
    pub fn wall() -> io::Result<Self> {
        let flags =
            TimerSetTimeFlags::TFD_TIMER_ABSTIME | TimerSetTimeFlags::TFD_TIMER_CANCEL_ON_SET;
        Self::new(ClockId::CLOCK_REALTIME, flags)
    }

    fn new(clock: ClockId, flags: TimerSetTimeFlags) -> io::Result<Self> {
        let timer = TimerFd::new(clock, TimerFlags::TFD_CLOEXEC | TimerFlags::TFD_NONBLOCK)?;
        Ok(Self {
            timer,
            flags,
            armed: None,
        })
    }

    /// Wakes at `at` nanoseconds of the timer's clock at the latest, or never. A timer that is armed for an
    /// earlier time is left alone: waking once too often is cheaper than a system call for every job.
    pub fn set(&mut self, at: Option<u64>) -> io::Result<()> {
        if self
            .armed
            .is_some_and(|armed| at.is_none_or(|at| armed <= at))
            || at == self.armed
        {
            return Ok(());
        }
        match at {
            // Zero would disarm the timer (timerfd_settime(2)).
            Some(ns) => {
                let at = TimeSpec::from_duration(Duration::from_nanos(ns.max(1)));
                self.timer.set(Expiration::OneShot(at), self.flags)?;
            }
            None => self.timer.unset()?,
        }
        self.armed = at;
        Ok(())
    }

    /// Takes note that the timer fired, or that its clock was set.
    pub fn acknowledge(&mut self) {
        let mut count = [0u8; 8];
        // The outcome does not matter: ECANCELED (clock set), EAGAIN (spurious) and a count all mean "look again".
        let _ = nix::unistd::read(&self.timer, &mut count);
        self.armed = None;
    }
}

impl AsFd for Timer {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.timer.as_fd()
    }
}
