# SPDX-License-Identifier: Apache-2.0
"""Removes tensors that this process has mapped and four others read, each through a handle of its
own; all must go on reading the right bytes. Whoever calls it sets a deadline.

usage: consume_under_readers.py MOUNT"""

import hashlib
import mmap
import os
import sys

READERS = 4


def read_on(paths, first, end):
    """Reads all files, again and again, until the other end of a pipe is closed."""
    files = [open(path, "rb", buffering=0) for path in paths]
    os.write(first, b"r")
    want = None
    while want is None or not at_end(end):
        got = []
        for f in files:
            f.seek(0)
            got.append(hashlib.sha256(f.read()).digest())
        if want is not None and got != want:
            return 1
        want = want or got
    return 0


def at_end(fd):
    try:
        return os.read(fd, 1) == b""
    except BlockingIOError:
        return False


def start_reader(paths, ready, end, keep):
    pid = os.fork()
    if pid == 0:
        os.close(keep)
        os.set_blocking(end, False)
        os._exit(read_on(paths, ready, end))
    return pid


def main(mount):
    folder = os.path.join(mount, "tensors")
    paths = [os.path.join(folder, name) for name in os.listdir(folder)]
    maps, want = [], []
    ready_out, ready_in = os.pipe()
    end_out, end_in = os.pipe()
    readers = [start_reader(paths, ready_in, end_out, end_in) for _ in range(READERS)]
    for path in paths:
        with open(path, "rb") as f:
            maps.append(mmap.mmap(f.fileno(), 0, mmap.MAP_SHARED, mmap.PROT_READ))
            want.append(hashlib.sha256(maps[-1][:]).digest())
    for _ in readers:
        os.read(ready_out, 1)
    for path, mapped in zip(paths, maps):
        os.unlink(path)
        assert len(mapped[:4096]) == 4096
    os.close(end_in)
    assert [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in readers] == [0] * READERS
    assert not os.listdir(folder)
    for mapped, digest in zip(maps, want):  # faulted in again
        assert hashlib.sha256(mapped[:]).digest() == digest
        mapped.close()


main(*sys.argv[1:])
