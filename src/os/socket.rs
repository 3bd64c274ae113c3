//! Calls that do not block on a socket that otherwise does (send(2), recv(2) with `MSG_DONTWAIT`).

use std::io;
use std::os::fd::{AsFd, AsRawFd};

/// Writes as many bytes as there is room for. Errors: `WouldBlock` if there is no room. A peer that is gone raises no
/// SIGPIPE.
pub fn send_now(socket: impl AsFd, bytes: &[u8]) -> io::Result<usize> {
    let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
    let fd = socket.as_fd().as_raw_fd();
    // SAFETY: the pointer and the length are those of a live slice, which the call only reads.
    let sent = unsafe { libc::send(fd, bytes.as_ptr().cast(), bytes.len(), flags) };
    usize::try_from(sent).map_err(|_| io::Error::last_os_error())
}

/// Reads the bytes that have come. Errors: `WouldBlock` if none have.
pub fn receive_now(socket: impl AsFd, buffer: &mut [u8]) -> io::Result<usize> {
    let fd = socket.as_fd().as_raw_fd();
    let (to, room) = (buffer.as_mut_ptr().cast(), buffer.len());
    // SAFETY: the pointer and the length are those of a live slice that is borrowed for the call.
    let received = unsafe { libc::recv(fd, to, room, libc::MSG_DONTWAIT) };
    usize::try_from(received).map_err(|_| io::Error::last_os_error())
}
