//! The protocols of other job servers, so that their clients keep working.

#[cfg(feature = "url")]
pub mod hq;
