//! Bytes that nobody can guess.

use std::io;

/// 32 of them, from getrandom(2). Errors: the kernel has no such call, or is not ready for it.
pub fn bytes() -> io::Result<[u8; 32]> {
    let mut bytes = [0u8; 32];
    // SAFETY: the pointer is to `bytes.len()` writable bytes. Up to 256 bytes come whole (getrandom(2)).
    let n = unsafe { libc::getrandom(bytes.as_mut_ptr().cast(), bytes.len(), 0) };
    if usize::try_from(n) == Ok(bytes.len()) {
        Ok(bytes)
    } else {
        Err(io::Error::last_os_error())
    }
}
