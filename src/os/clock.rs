//! The clocks, and timers that make a descriptor readable.

use super::poll::Poller;
use crate::core::time::{Boot, Now, Wall};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use nix::time::{ClockId as Clock, clock_gettime};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

/// The time of both clocks.
pub fn now() -> Now {
    Now {
        boot: Boot(nanos(Clock::CLOCK_BOOTTIME)),
        wall: Wall(i64::try_from(nanos(Clock::CLOCK_REALTIME)).unwrap_or(i64::MAX)),
    }
}

/// The time of the wall clock.
pub fn wall() -> Wall {
    now().wall
}

/// The local zone when this process began.
static ZONE: OnceLock<TimeZone> = OnceLock::new();

/// Reads the local zone. The first thread has to do it: reading the description of a zone takes more stack than other
/// threads have.
pub fn learn_zone() {
    ZONE.get_or_init(TimeZone::system);
}

/// By how many seconds local time is ahead of UTC at an instant. Without [`learn_zone`] before, local time is UTC.
pub fn zone(at: Wall) -> i32 {
    let stamp = Timestamp::from_nanosecond(i128::from(at.0)).unwrap_or_default();
    ZONE.get().map_or(0, |zone| zone.to_offset(stamp).seconds())
}

/// Microseconds on CLOCK_MONOTONIC: sd_notify(3) requires them with RELOADING=1.
pub fn monotonic_usec() -> u64 {
    nanos(Clock::CLOCK_MONOTONIC) / 1000
}

fn nanos(clock: Clock) -> u64 {
    // clock_gettime(2) fails only for a clock that the kernel lacks; it has CLOCK_BOOTTIME since 2.6.39.
    clock_gettime(clock).map_or(0, |t| {
        u64::try_from(Duration::from(t).as_nanos()).unwrap_or(u64::MAX)
    })
}

/// A deadline of several threads: a descriptor becomes readable at the earliest that any of them has set.
#[derive(Debug, Clone)]
pub struct Alarm(Arc<Mutex<Timer>>);

impl Alarm {
    /// An alarm on CLOCK_BOOTTIME.
    pub fn boot() -> io::Result<Self> {
        Ok(Self(Arc::new(Mutex::new(Timer::boot()?))))
    }

    /// An alarm on CLOCK_REALTIME, which also goes off when somebody sets the clock.
    pub fn wall() -> io::Result<Self> {
        Ok(Self(Arc::new(Mutex::new(Timer::wall()?))))
    }

    fn timer(&self) -> MutexGuard<'_, Timer> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Goes off at `at` nanoseconds of its clock at the latest.
    pub fn set(&self, at: Option<u64>) {
        if let Err(e) = self.timer().set(at) {
            log::error!("timerfd: {e}");
        }
    }

    /// To be called when it has gone off, before it is set again.
    pub fn acknowledge(&self) {
        self.timer().acknowledge();
    }

    /// Has the poller report it under this number.
    pub fn add_to(&self, poller: &Poller, number: u64) -> io::Result<()> {
        poller.add(&*self.timer(), number)
    }
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

    /// Wakes at `at` nanoseconds of the timer's clock at the latest, or never. A timer that is set for an earlier time
    /// stays: one wake-up too many is cheaper than a system call for every job.
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

    /// To be called when the descriptor is readable: the timer fired, or its clock was set.
    pub fn acknowledge(&mut self) {
        let mut count = [0u8; 8];
        // ECANCELED (the clock was set), EAGAIN (a spurious wake-up) and a count all mean the same to the caller.
        let _ = nix::unistd::read(&self.timer, &mut count);
        self.armed = None;
    }
}

impl AsFd for Timer {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.timer.as_fd()
    }
}
