//! How near the end of the wire is.

/// How near the end is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopStage {
    /// Not in sight.
    Open,
    /// New requests are refused; those in work go on.
    Draining,
    /// Answers end soon, also those to requests that come now.
    LastCall,
    /// Answers end soon. New requests are refused.
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

    /// True when answers end soon.
    pub fn is_closing(self) -> bool {
        match self {
            Self::Open | Self::Draining => false,
            Self::LastCall | Self::Closing => true,
        }
    }
}
