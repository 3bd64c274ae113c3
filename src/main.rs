//! The pirn binary.
fn main() {}
