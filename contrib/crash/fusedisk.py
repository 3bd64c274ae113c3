"""A disk that logs all writes: one file on a FUSE file system, served over raw /dev/fuse.

`disk` keeps its bytes in memory, and the log gets every write and every flush of it, in their order. Text that is
written to `mark` goes to the same log. So the log shows which bytes were certainly on the medium (written before a
flush) at an acknowledgement (a mark).

    fusedisk.py MOUNTPOINT MEGABYTES LOGFILE

Ends, with the log complete, when it is unmounted. A log entry is a head of one letter, an offset and a length, then
that number of bytes. W is a write, F a flush, M a mark.
"""

import ctypes
import errno
import os
import struct
import sys

ROOT, DISK, MARK = 1, 2, 3
NAMES = {b"disk": DISK, b"mark": MARK}
HEAD = struct.Struct("<cQI")

LOOKUP, FORGET, GETATTR, SETATTR, OPEN, READ, WRITE, STATFS = 1, 2, 3, 4, 14, 15, 16, 17
RELEASE, FSYNC, FLUSH, INIT, OPENDIR, RELEASEDIR, DESTROY, BATCH_FORGET = 18, 20, 25, 26, 27, 29, 38, 42
FOPEN_DIRECT_IO, FUSE_BIG_WRITES, FOR_LONG = 1, 1 << 5, 3600


class Disk:
    """Answers the kernel's requests."""

    def __init__(self, mount_point, size, log_path):
        self.size = size
        self.bytes = bytearray(size)
        self.log = open(log_path, "wb", buffering=1 << 20)
        self.fuse = os.open("/dev/fuse", os.O_RDWR)
        options = f"fd={self.fuse},rootmode=40000,user_id=0,group_id=0,allow_other".encode()
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.mount(b"fusedisk", mount_point.encode(), b"fuse", 0, options):
            sys.exit(f"mount: {os.strerror(ctypes.get_errno())}")

    def serve(self):
        while True:
            try:
                request = os.read(self.fuse, (1 << 20) + 8192)
            except OSError as e:
                if e.errno in (errno.EINTR, errno.ENOENT, errno.EAGAIN):
                    continue
                break
            length, op, unique, node = struct.unpack_from("<IIQQ", request)
            if op in (FORGET, BATCH_FORGET):
                continue
            try:
                code, body = 0, self.answer(op, node, request[40:length])
            except OSError as e:
                code, body = -e.errno, b""
            os.write(self.fuse, struct.pack("<IiQ", 16 + len(body), code, unique) + body)
            if op == DESTROY:
                break
        self.log.close()

    def answer(self, op, node, rest):
        if op == INIT:
            major, minor, ahead, _ = struct.unpack_from("<IIII", rest)
            return struct.pack("<IIIIHHIIHHI28x", 7, 31, ahead, FUSE_BIG_WRITES, 12, 9, 1 << 20, 1, 256, 0, 0)
        if op == LOOKUP:
            found = NAMES.get(rest.rstrip(b"\0"))
            if not found:
                raise OSError(errno.ENOENT, "")
            return struct.pack("<QQQQII", found, 0, FOR_LONG, FOR_LONG, 0, 0) + self.attributes(found)
        if op in (GETATTR, SETATTR):
            return struct.pack("<QII", FOR_LONG, 0, 0) + self.attributes(node)
        if op in (OPEN, OPENDIR):
            return struct.pack("<QII", node, FOPEN_DIRECT_IO if op == OPEN else 0, 0)
        if op == READ:
            _, offset, size = struct.unpack_from("<QQI", rest)
            return bytes(self.bytes[offset : offset + size]) if node == DISK else b""
        if op == WRITE:
            _, offset, size = struct.unpack_from("<QQI", rest)
            data = rest[40 : 40 + size]
            if node == DISK:
                self.bytes[offset : offset + size] = data
            self.note(b"W" if node == DISK else b"M", offset, data)
            return struct.pack("<II", size, 0)
        if op == FSYNC:
            if node == DISK:
                self.note(b"F", 0, b"")
            return b""
        if op in (FLUSH, RELEASE, RELEASEDIR, DESTROY):
            return b""
        if op == STATFS:
            return struct.pack("<QQQQQIIII24x", 1 << 20, 1 << 20, 1 << 20, 10, 10, 4096, 255, 4096, 0)
        raise OSError(errno.ENOSYS, "")

    def attributes(self, node):
        mode, size = (0o40755, 0) if node == ROOT else (0o100600, self.size if node == DISK else 0)
        return struct.pack("<QQQQQQIIIIIIIIII", node, size, size // 512, 0, 0, 0, 0, 0, 0, mode, 1, 0, 0, 0, 4096, 0)

    def note(self, kind, offset, data):
        self.log.write(HEAD.pack(kind, offset, len(data)) + data)


def entries(path):
    """The log, entry by entry: (letter, offset, bytes)."""
    with open(path, "rb") as log:
        text = log.read()
    at = 0
    while at + HEAD.size <= len(text):
        kind, offset, length = HEAD.unpack_from(text, at)
        at += HEAD.size
        yield kind.decode(), offset, text[at : at + length]
        at += length


if __name__ == "__main__":
    Disk(sys.argv[1], int(sys.argv[2]) << 20, sys.argv[3]).serve()
