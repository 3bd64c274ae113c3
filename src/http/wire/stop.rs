//! How near the end of the wire is.

/// How near the end is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopStage {
    /// Not in sight.
    Open,
    /// No new requests; what is being answered goes on.
    Draining,
    /// What is being answered must be done soon, and so must what has just been asked.
    LastCall,
    /// What is being answered must be done soon. No new requests.
    Closing,
}

impl StopStage {
    /// True while the end is not in sight.
    pub fn is_open(self) -> bool {
        self == Self::Open
    }

    /// True while requests are taken.
    pub fn serves(self) -> bool {
        match self {
            Self::Open | Self::LastCall => true,
            Self::Draining | Self::Closing => false,
        }
    }

    /// True when all is to come to an end.
    pub fn is_closing(self) -> bool {
        match self {
            Self::Open | Self::Draining => false,
            Self::LastCall | Self::Closing => true,
        }
    }
}
