# SPDX-License-Identifier: Apache-2.0
"""The page cache of given files: filled, emptied, counted. Nothing else of the machine is touched.

Counting is cachestat (Linux 6.5; number 451 on every architecture), else mincore.
"""

import ctypes
import mmap
import os

CACHESTAT = 451
PAGE = mmap.PAGESIZE
WINDOW = 1 << 30  # bytes looked at by one mincore
BLOCK = 1 << 20

_libc = ctypes.CDLL(None, use_errno=True)
_libc.mmap.restype = ctypes.c_void_p
_libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int,
                       ctypes.c_long]
_libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
_libc.mincore.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_char_p]
_libc.syscall.restype = ctypes.c_long


class _Range(ctypes.Structure):
    _fields_ = [("offset", ctypes.c_uint64), ("bytes", ctypes.c_uint64)]


class _Counts(ctypes.Structure):
    _fields_ = [(name, ctypes.c_uint64)
                for name in ("cached", "dirty", "writeback", "evicted", "recently_evicted")]


def _by_mincore(fd, size):
    pages = 0
    for at in range(0, size, WINDOW):
        length = min(WINDOW, size - at)
        where = _libc.mmap(None, length, mmap.PROT_READ, mmap.MAP_SHARED, fd, at)
        if where in (None, ctypes.c_void_p(-1).value):
            raise OSError(ctypes.get_errno(), "mmap")
        seen = ctypes.create_string_buffer(-(-length // PAGE))
        _libc.mincore(where, length, seen)
        _libc.munmap(where, length)
        pages += sum(byte & 1 for byte in seen.raw)
    return pages * PAGE


def cached_of(fd, size):
    """Bytes of an open file that are in the page cache."""
    span, counts = _Range(0, size), _Counts()
    if _libc.syscall(ctypes.c_long(CACHESTAT), ctypes.c_int(fd), ctypes.byref(span),
                     ctypes.byref(counts), ctypes.c_uint(0)) == 0:
        return counts.cached * PAGE
    return _by_mincore(fd, size)


class Files:
    """Some files, held open."""

    def __init__(self, paths):
        self.paths = list(paths)
        self.fds = [os.open(p, os.O_RDONLY | os.O_CLOEXEC) for p in self.paths]
        self.sizes = [os.fstat(fd).st_size for fd in self.fds]

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        while self.fds:
            os.close(self.fds.pop())

    @property
    def bytes(self):
        return sum(self.sizes)

    def cached(self):
        return sum(cached_of(fd, size) for fd, size in zip(self.fds, self.sizes))

    def evict(self):
        """Returns the bytes that stayed. A dirty page cannot go, hence the sync; one that another
        CPU still has in its batch goes at the second try."""
        for _ in range(3):
            for fd in self.fds:
                os.fsync(fd)
                os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
            left = self.cached()
            if not left:
                break
        return left

    def warm(self, limit=None):
        """Reads each file (the first `limit` bytes of it); returns the bytes that are cached."""
        buffer = bytearray(BLOCK)
        for fd, size in zip(self.fds, self.sizes):
            end = min(size, limit or size)
            for at in range(0, end, BLOCK):
                os.preadv(fd, [memoryview(buffer)[:min(BLOCK, end - at)]], at)
        return self.cached()
