//! The languages of other job servers, so that their clients keep working. Each is one handler over the same spool;
//! where it differs from its original, and why, is said in pirn(1).

pub mod go;
#[cfg(feature = "url")]
pub mod hq;
pub mod jobrunner;
pub mod qmd;
