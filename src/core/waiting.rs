//! The reasons for which a job waits, as users see them.

/// The cause for which a job waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WaitWord {
    /// Somebody holds it back.
    Held,
    /// A job that it comes after has not ended.
    After,
    /// Another job of its group goes first.
    Group,
    /// Its date has not come.
    NotBefore,
    /// The pause before its next try is not over.
    Backoff,
    /// Nothing is started.
    AllPaused,
    /// Nothing is started from its queue.
    QueuePaused,
    /// The daemon does not serve its queue.
    NotServed,
    /// The disk has too little room.
    Disk,
    /// Its tokens are in use, or there are not as many.
    Tokens,
    /// It takes several slots, and there are not as many free ones.
    Weight,
    /// All slots are taken.
    Slots,
    /// Somebody is writing its file.
    FileOpen,
    /// Processes of an earlier run of it live.
    Leftover,
    /// No daemon serves the spool.
    NoDaemon,
    /// Other jobs go first, or it is about to start.
    Turn,
}

impl WaitWord {
    /// The word that users see.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Held => "held",
            Self::After => "after",
            Self::Group => "group",
            Self::NotBefore => "not_before",
            Self::Backoff => "backoff",
            Self::AllPaused => "all_paused",
            Self::QueuePaused => "queue_paused",
            Self::NotServed => "not_served",
            Self::Disk => "disk",
            Self::Tokens => "tokens",
            Self::Weight => "weight",
            Self::Slots => "slots",
            Self::FileOpen => "file_open",
            Self::Leftover => "leftover",
            Self::NoDaemon => "no_daemon",
            Self::Turn => "turn",
        }
    }
}

/// Why a job waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WaitReason {
    /// In one word.
    pub why: WaitWord,
    /// In one sentence.
    pub text: String,
}
