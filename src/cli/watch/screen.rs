//! The state of the screen: what it shows, when it is to look again, and what keys do.

use super::act;
use super::changes::{LogChanges, SPOOL, SpoolChanges};
use super::frame::{SMALLEST, Size, frame, most_back};
use super::keys::KeyPress;
use super::model::{Model, Page};
use super::picture::Picture;
use crate::cli::style::Style;
use crate::core::id::JobId;
use crate::core::time::Boot;
use crate::os::fault::Fault;
use crate::os::poll::Poller;
use crate::os::{clock, dir, terminal};
use crate::spool::Spool;
use std::io;
use std::time::Duration;

/// The least time between two looks at the spool, or at the log.
const PAUSE: Duration = Duration::from_millis(250);

/// Looking takes at most this part of the time: a spool may be large.
const SHARE: u32 = 10;

/// The time between two drawings of clocks.
const TICK: Duration = Duration::from_secs(1);

/// Most bytes of the end of a log that are read, for a part of the screen and for a page.
const TAIL: u64 = 64 << 10;
const PAGE: u64 = 1 << 20;

/// The jobs that Page Up and Page Down go over.
const LEAP: usize = 10;

pub struct Screen<'s> {
    spool: &'s Spool,
    pub poller: &'s Poller,
    style: Style,
    model: Model,
    size: Size,
    /// The lines on the screen; none if it has to be drawn as a whole.
    drawn: Vec<String>,
    /// The job that the user has selected. Without one, it is the first on the screen.
    chosen: Option<JobId>,
    /// The job that is to be cancelled if the answer is yes.
    asked: Option<JobId>,
    changes: SpoolChanges,
    log_changes: LogChanges,
    /// The spool is not looked at before this.
    earliest: Boot,
    /// When to look at the spool, and when to look at the log and draw.
    spool_due: Option<Boot>,
    draw_due: Option<Boot>,
}

impl<'s> Screen<'s> {
    pub fn new(spool: &'s Spool, poller: &'s Poller, style: Style) -> io::Result<Self> {
        let now = clock::now();
        Ok(Self {
            spool,
            poller,
            style,
            model: Model {
                picture: Picture::default(),
                now: now.wall,
                selected: 0,
                log: Vec::new(),
                page: Page::Jobs,
                message: None,
            },
            size: SMALLEST,
            drawn: Vec::new(),
            chosen: None,
            asked: None,
            changes: SpoolChanges::new()?,
            log_changes: LogChanges::new()?,
            earliest: now.boot,
            spool_due: Some(now.boot),
            draw_due: None,
        })
    }

    /// When [`Self::look_if_due`] has to be called.
    pub fn due(&self) -> Option<Boot> {
        [self.spool_due, self.draw_due].into_iter().flatten().min()
    }

    /// Looks at what has changed, and draws it.
    pub fn look_if_due(&mut self, now: Boot) -> io::Result<()> {
        let is_due = |due: Option<Boot>| due.is_some_and(|due| due <= now);
        if is_due(self.spool_due) {
            self.spool_due = None;
            self.changes.take_note(self.spool)?;
            if !self.spool.is_at_its_path()? {
                let path = self.spool.path().display();
                return Err(io::Error::other(format!(
                    "the spool {path} was moved or removed"
                )));
            }
            self.model.picture = Picture::read(self.spool, self.changes.seen())?;
            self.changes.source.hear(self.poller)?;
            self.select();
            let done = clock::now().boot;
            self.earliest = done.after(PAUSE.max(done.since(now) * SHARE));
        } else if is_due(self.draw_due) {
            self.model.picture.read_progress(self.spool);
        } else {
            return Ok(());
        }
        self.draw()
    }

    /// Notes that the spool or the log has changed. Further changes are not heard until it is looked at.
    pub fn changed(&mut self, number: u64) -> io::Result<()> {
        let now = clock::now().boot;
        if number == SPOOL {
            self.changes.source.ignore(self.poller)?;
            self.spool_due = Some(self.earliest.max(now));
        } else {
            self.log_changes.source.ignore(self.poller)?;
            let soon = now.after(PAUSE);
            self.draw_due = Some(self.draw_due.map_or(soon, |due| due.min(soon)));
        }
        Ok(())
    }

    /// Has all of it drawn, on a screen that may have another size.
    pub fn redraw(&mut self) {
        self.drawn.clear();
        self.draw_due = Some(clock::now().boot);
    }

    /// Finds the place of the selected job. If it is gone, its place stays selected.
    fn select(&mut self) {
        let mut jobs = self.model.picture.jobs();
        let place = match &self.chosen {
            None => Some(0),
            Some(chosen) => jobs.position(|job| job.row.id == *chosen),
        };
        let count = self.model.picture.jobs().count();
        self.model.selected = place
            .unwrap_or(self.model.selected)
            .min(count.saturating_sub(1));
    }

    fn go_to(&mut self, place: usize) {
        let last = self.model.picture.jobs().count().saturating_sub(1);
        self.model.selected = place.min(last);
        self.chosen = self.model.id();
    }

    /// Reads the end of the selected log, and draws the lines that are not as they were.
    fn draw(&mut self) -> io::Result<()> {
        debug_assert!(!Fault::PanicOnScreen.is_on(), "a panic for a test");
        let now = clock::now();
        self.model.now = now.wall;
        self.draw_due = (!self.model.picture.running.is_empty()).then(|| now.boot.after(TICK));
        // A page that was scrolled back stands still.
        match self.model.page {
            Page::Log { back: 1.. } => {}
            Page::Log { back: 0 } => self.read_log(PAGE)?,
            Page::Jobs | Page::Help => self.read_log(TAIL)?,
        }
        let (columns, rows) = terminal::size(&io::stdout()).unwrap_or((80, 24));
        let size = Size { columns, rows };
        let mut out = String::new();
        if size != self.size || self.drawn.is_empty() {
            self.size = size;
            self.drawn.clear();
            out.push_str("\x1b[0m\x1b[2J");
        }
        let lines = frame(&self.model, size, self.style);
        for (n, line) in lines.iter().enumerate() {
            if self.drawn.get(n) != Some(line) {
                out.push_str(&format!("\x1b[{};1H\x1b[K{line}", n + 1));
            }
        }
        self.drawn = lines;
        terminal::write(self.style.spell(out).as_bytes())
    }

    fn read_log(&mut self, most: u64) -> io::Result<()> {
        let id = self.model.id();
        self.log_changes.take_note(self.spool, id.as_ref())?;
        let opened = id.and_then(|id| self.spool.open_log(id.as_str()).ok());
        let read = opened.and_then(|mut file| dir::read_end(&mut file, 0, most).ok());
        let (bytes, from) = read.unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        // The beginning of the first line may be missing.
        let skipped = usize::from(from > 0);
        self.model.log = text.lines().skip(skipped).map(str::to_owned).collect();
        self.log_changes.source.hear(self.poller)
    }

    /// Does what a key asks for, and draws. True if it asks to leave.
    pub fn press(&mut self, key: KeyPress) -> io::Result<bool> {
        self.model.message = None;
        if let Some(id) = self.asked.take() {
            if key == KeyPress::Char('y') {
                self.model.message = Some(act::cancel(self.spool, &id));
            }
            return self.draw().map(|()| false);
        }
        match (self.model.page, key) {
            (_, KeyPress::Char('\x0c')) => self.drawn.clear(),
            (Page::Help, _) => self.model.page = Page::Jobs,
            (Page::Log { back }, key) => self.press_in_log(back, key),
            (Page::Jobs, KeyPress::Char('q')) => return Ok(true),
            (Page::Jobs, key) => self.press_in_jobs(key),
        }
        self.draw().map(|()| false)
    }

    fn press_in_log(&mut self, back: usize, key: KeyPress) {
        let page = self.size.rows.saturating_sub(2);
        let most = most_back(&self.model.log, self.size);
        let back = match key {
            KeyPress::Up | KeyPress::Char('k') => back + 1,
            KeyPress::Down | KeyPress::Char('j') => back.saturating_sub(1),
            KeyPress::PageUp | KeyPress::Char('b') => back + page,
            KeyPress::PageDown | KeyPress::Char(' ') => back.saturating_sub(page),
            KeyPress::Home | KeyPress::Char('g') => most,
            KeyPress::End | KeyPress::Char('G') => 0,
            KeyPress::Escape | KeyPress::Enter | KeyPress::Char('q' | 'l') => {
                self.model.page = Page::Jobs;
                return;
            }
            KeyPress::Char(_) => back,
        };
        self.model.page = Page::Log {
            back: back.min(most),
        };
    }

    fn press_in_jobs(&mut self, key: KeyPress) {
        let place = self.model.selected;
        match key {
            KeyPress::Up | KeyPress::Char('k') => self.go_to(place.saturating_sub(1)),
            KeyPress::Down | KeyPress::Char('j') => self.go_to(place + 1),
            KeyPress::PageUp => self.go_to(place.saturating_sub(LEAP)),
            KeyPress::PageDown => self.go_to(place + LEAP),
            KeyPress::End | KeyPress::Char('G') => self.go_to(usize::MAX),
            KeyPress::Home | KeyPress::Escape | KeyPress::Char('g') => {
                self.chosen = None;
                self.model.selected = 0;
            }
            KeyPress::Enter | KeyPress::Char('l') => {
                // The page stays with the job.
                self.chosen = self.model.id();
                self.model.page = Page::Log { back: 0 };
            }
            KeyPress::Char('?') => self.model.page = Page::Help,
            KeyPress::Char('p') => {
                self.act(|spool, model| Some(act::pause_or_resume(spool, &model.picture, None)))
            }
            KeyPress::Char('P') => self.act(|spool, model| {
                let queue = model.job()?.row.queue.clone();
                Some(act::pause_or_resume(spool, &model.picture, Some(queue)))
            }),
            KeyPress::Char('c') => {
                self.asked = self.model.id();
                let id = self.asked.as_ref();
                self.model.message = id.map(|id| format!("cancel job {id}? (y/n)"));
            }
            KeyPress::Char('r') => self.act(|spool, model| Some(act::retry(spool, &model.id()?))),
            KeyPress::Char('h') => {
                self.act(|spool, model| model.job().map(|job| act::hold_or_release(spool, job)))
            }
            KeyPress::Char(_) => {}
        }
    }

    /// Does something with the selected job, and says what came of it.
    fn act(&mut self, act: impl FnOnce(&Spool, &Model) -> Option<String>) {
        let nothing = || "there is no job".to_owned();
        let message = act(self.spool, &self.model).unwrap_or_else(nothing);
        self.model.message = Some(message);
    }
}
