# SPDX-License-Identifier: Apache-2.0
"""Consumes a shard's tensors one by one and looks after each, with mincore(2), whether exactly the
pages went that nobody needs any more.

usage: evict_exactly.py MOUNT SHARD SEED

SHARD is the one shard's file behind the mount; SEED is 'in-order', 'reversed' or a number to
shuffle by. The shard is read through the mount first, as loaders do: one read() after another, the
kernel reading ahead as it likes. Prints 'exact', or what is wrong, and exits 1.

A page is dead when every byte of it belongs to a consumed tensor (the header to the last of all).
Around the tensor that goes, pages that live are read once more right before it: the kernel may
reclaim any page at any time, but hardly in that moment."""

import ctypes
import json
import mmap
import os
import random
import sys

PAGE = 4096
REACH = 1024  # pages to both sides; folios have 512 at most
libc = ctypes.CDLL(None, use_errno=True)


class Shard:
    def __init__(self, path, rows):
        self.fd = os.open(path, os.O_RDONLY)
        self.size = os.fstat(self.fd).st_size
        self.pages = (self.size + PAGE - 1) // PAGE
        self.map = mmap.mmap(self.fd, self.size, mmap.MAP_SHARED, mmap.PROT_READ)
        with open("/proc/self/maps", encoding="utf-8") as maps:
            self.at = next(int(line.split("-")[0], 16) for line in maps
                           if line.rstrip().endswith(path))
        # How many live tensors (or the header) have bytes in each page.
        self.users = [0] * self.pages
        self.header = min(row["offset"] for row in rows)
        for page in range(0, (self.header + PAGE - 1) // PAGE):
            self.users[page] += 1
        for row in rows:
            for page in self.pages_of(row):
                self.users[page] += 1

    @staticmethod
    def pages_of(row):
        if not row["bytes"]:
            return range(0)
        return range(row["offset"] // PAGE, (row["offset"] + row["bytes"] - 1) // PAGE + 1)

    def resident(self, lo, hi):
        vec = (ctypes.c_ubyte * (hi - lo))()
        if libc.mincore(ctypes.c_void_p(self.at + lo * PAGE),
                        ctypes.c_size_t((hi - lo) * PAGE), vec):
            raise OSError(ctypes.get_errno(), "mincore")
        return [b & 1 for b in vec]

    def read(self, lo, hi):
        """Reads the live pages of [lo, hi)."""
        page = lo
        while page < hi:
            end = page
            while end < hi and self.users[end]:
                end += 1
            if end > page:
                os.pread(self.fd, (end - page) * PAGE, page * PAGE)
            page = end + 1

    def wrong(self, lo, hi):
        """What is cached and dead, or live and not cached, in [lo, hi)."""
        for page, cached in enumerate(self.resident(lo, hi), lo):
            if cached and not self.users[page]:
                return f"page {page} is dead and cached"
            if not cached and self.users[page]:
                return f"page {page} is live and was dropped"
        return None


def order(rows, how):
    rows = list(rows)
    if how == "reversed":
        rows.reverse()
    elif how != "in-order":
        random.Random(int(how)).shuffle(rows)
    return rows


def main(mount, path, how):
    with open(os.path.join(mount, ".wload", "index.jsonl"), encoding="utf-8") as f:
        rows = [json.loads(line) for line in f][1:]
    shard = Shard(path, rows)
    os.posix_fadvise(shard.fd, 0, 0, os.POSIX_FADV_RANDOM)  # ours reads nothing but what it asks
    with open(os.path.join(mount, os.path.basename(path)), "rb", buffering=0) as f:
        while f.read(1 << 20):
            pass
    for number, row in enumerate(order(rows, how), 1):
        touched = shard.pages_of(row)
        lo = max(0, touched.start - REACH)
        hi = min(shard.pages, touched.stop + REACH)
        shard.read(lo, hi)
        os.unlink(os.path.join(mount, "tensors", row["file"]))
        for page in touched:
            shard.users[page] -= 1
        if number == len(rows):
            for page in range(0, (shard.header + PAGE - 1) // PAGE):
                shard.users[page] -= 1
            lo, hi = 0, shard.pages
        wrong = shard.wrong(lo, hi)
        if wrong:
            print(f"after {number} of {len(rows)}, '{row['file']}' ({touched.start} to "
                  f"{touched.stop}): {wrong}")
            return 1
    print("exact")
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
