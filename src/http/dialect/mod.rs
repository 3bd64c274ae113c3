//! Dialects: the APIs of other job servers, so that their clients keep working. Each is one handler over the same
//! spool. pirn(1) says where it differs from its original, and why.

pub mod go;
#[cfg(feature = "url")]
pub mod hq;
pub mod jobrunner;
pub mod qmd;
