//! The command line's points in time, compiled into the fuzz targets from their source: the library does not
//! show them.

#[path = "../../src/cli/when.rs"]
mod when;

pub use when::{parse, parse_or_within};
