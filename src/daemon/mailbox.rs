//! Where the other threads leave what they have to tell the engine.

use crate::os::poll::Bell;
use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Mutex, PoisonError};

/// A queue of messages with a bell, which is rung only for a sleeping reader: a busy one looks anyway.
#[derive(Debug)]
pub struct Mailbox<T> {
    letters: Mutex<VecDeque<T>>,
    reader: AtomicU8,
    bell: Bell,
}

/// What the reader does.
const AWAKE: u8 = 0;
const DOZING: u8 = 1;
const ASLEEP: u8 = 2;

impl<T> Mailbox<T> {
    /// An empty one.
    pub fn new() -> io::Result<Self> {
        Ok(Self {
            letters: Mutex::new(VecDeque::new()),
            reader: AtomicU8::new(AWAKE),
            bell: Bell::new()?,
        })
    }

    /// Leaves a message.
    pub fn send(&self, letter: T) {
        self.letters
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push_back(letter);
        if self.reader.swap(AWAKE, Ordering::SeqCst) != AWAKE {
            self.bell.ring();
        }
    }

    /// Leaves messages that can wait: a reader that looks by itself before long is not woken for them.
    pub fn send_expected(&self, letters: impl IntoIterator<Item = T>) {
        self.letters
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .extend(letters);
        let fast = self
            .reader
            .compare_exchange(ASLEEP, AWAKE, Ordering::SeqCst, Ordering::SeqCst);
        if fast.is_ok() {
            self.bell.ring();
        }
    }

    /// Wakes the reader without a message.
    pub fn ring(&self) {
        self.bell.ring();
    }

    /// Takes all messages.
    pub fn take(&self) -> VecDeque<T> {
        std::mem::take(&mut *self.letters.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// True when there are no messages.
    pub fn is_empty(&self) -> bool {
        self.letters
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .is_empty()
    }

    /// Says that the reader is about to sleep; `dozing`, if it will wake by itself before long. False when it must
    /// not, because there are messages.
    pub fn may_sleep(&self, dozing: bool) -> bool {
        self.reader
            .store(if dozing { DOZING } else { ASLEEP }, Ordering::SeqCst);
        let empty = self.is_empty();
        if !empty {
            self.reader.store(AWAKE, Ordering::SeqCst);
        }
        empty
    }

    /// Says that the reader is awake.
    pub fn awake(&self, rung: bool) {
        self.reader.store(AWAKE, Ordering::SeqCst);
        if rung {
            self.bell.silence();
        }
    }
}

impl<T> AsFd for Mailbox<T> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.bell.as_fd()
    }
}
