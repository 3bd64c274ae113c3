//! Where the other threads leave what they have to tell the engine.

use crate::os::poll::Bell;
use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

/// A queue of messages with a bell, which is rung only for a sleeping reader: a busy one looks anyway.
#[derive(Debug)]
pub struct Mailbox<T> {
    letters: Mutex<VecDeque<T>>,
    asleep: AtomicBool,
    bell: Bell,
}

impl<T> Mailbox<T> {
    /// An empty one.
    pub fn new() -> io::Result<Self> {
        Ok(Self {
            letters: Mutex::new(VecDeque::new()),
            asleep: AtomicBool::new(false),
            bell: Bell::new()?,
        })
    }

    /// Leaves a message.
    pub fn send(&self, letter: T) {
        self.letters
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push_back(letter);
        if self.asleep.swap(false, Ordering::SeqCst) {
            self.bell.ring();
        }
    }

    /// Leaves messages that the reader expects: it looks by itself before long, and is not woken for them.
    pub fn send_expected(&self, letters: impl IntoIterator<Item = T>) {
        self.letters
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .extend(letters);
    }

    /// Takes all messages.
    pub fn take(&self) -> VecDeque<T> {
        std::mem::take(&mut *self.letters.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Says that the reader is about to sleep. False when it must not, because there are messages.
    pub fn may_sleep(&self) -> bool {
        self.asleep.store(true, Ordering::SeqCst);
        let empty = self
            .letters
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .is_empty();
        if !empty {
            self.asleep.store(false, Ordering::SeqCst);
        }
        empty
    }

    /// Says that the reader is awake.
    pub fn awake(&self, rung: bool) {
        self.asleep.store(false, Ordering::SeqCst);
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
