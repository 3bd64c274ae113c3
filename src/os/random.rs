//! Random bytes that cannot be guessed.

use std::io;

/// 32 bytes from getrandom(2). Errors: the kernel lacks the call, or has no random bytes yet.
pub fn bytes() -> io::Result<[u8; 32]> {
    let mut bytes = [0u8; 32];
    // SAFETY: the pointer is to `bytes.len()` writable bytes. A read of up to 256 bytes is never cut (getrandom(2)).
    let n = unsafe { libc::getrandom(bytes.as_mut_ptr().cast(), bytes.len(), 0) };
    if usize::try_from(n) == Ok(bytes.len()) {
        Ok(bytes)
    } else {
        Err(io::Error::last_os_error())
    }
}
