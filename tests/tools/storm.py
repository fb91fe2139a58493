#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Clients that map, read, remove and restore the tensors of a mount, all at once, until they are told
to stop or the mount is gone.

usage: storm.py MNT SECONDS      ends by itself after SECONDS at the latest; always exits 0"""

import mmap
import os
import sys
import time


def readers(mnt, names, flags):
    for name in names:
        try:
            fd = os.open(f"{mnt}/tensors/{name}", os.O_RDONLY)
        except OSError:
            continue
        try:
            with mmap.mmap(fd, 0, prot=mmap.PROT_READ, flags=flags) as mapped:
                sum(mapped[i] for i in range(0, len(mapped), 4096))
            os.read(fd, 1 << 20)
        except (OSError, ValueError):
            pass
        finally:
            os.close(fd)


def command(mnt, line):
    try:
        with open(f"{mnt}/.wload/consume", "w", encoding="ascii") as f:
            f.write(line)
    except OSError:
        pass


def remover(mnt, names, _):
    for name in names:
        try:
            os.unlink(f"{mnt}/tensors/{name}")
        except OSError:
            pass
        command(mnt, "restore\n")


def bulk(mnt, _, __):
    command(mnt, "all\n")
    command(mnt, "restore\n")


def main():
    mnt, seconds = sys.argv[1], float(sys.argv[2])
    names = sorted(os.listdir(f"{mnt}/tensors"))
    end = time.monotonic() + seconds
    children = []
    for work, argument in ((readers, mmap.MAP_PRIVATE), (readers, mmap.MAP_SHARED), (remover, None),
                           (bulk, None)):
        pid = os.fork()
        if pid == 0:
            while time.monotonic() < end and os.path.exists(f"{mnt}/.wload/consume"):
                work(mnt, names, argument)
            os._exit(0)
        children.append(pid)
    for pid in children:
        os.waitpid(pid, 0)


if __name__ == "__main__":
    main()
