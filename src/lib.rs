//! pirn: a job queue that is a directory. `doc/ARCHITECTURE.md` is the map; the layers, lowest first, are
//! the modules below, and each imports only from those before it.

pub mod core;
