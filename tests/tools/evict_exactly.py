# SPDX-License-Identifier: Apache-2.0
"""Consumes a checkpoint's tensors one by one and looks after each, with mincore(2), whether exactly
the pages went that nobody needs any more.

usage: evict_exactly.py MOUNT CHECKPOINT ORDER [exact|held|readers]

ORDER is 'in-order', 'reversed' or a number to shuffle by. CHECKPOINT is the folder behind the
mount. Its shards are read through the mount first, as loaders do: one read() after another, the
kernel reading ahead as it likes. Prints 'exact', or what is wrong, and exits 1.

A page is dead when every byte of it belongs to consumed tensors (the header's to the last one of a
shard). What is looked for after each removal:

  exact    no dead page is cached; no live page that was cached right before it is gone. Live ones
           are read again right before: a kernel that reclaims ahead of need (DAMON) takes cold
           ones at any moment, and may take one in LOST_RATIO removals all the same
  held     the same of live pages; what is cached and dead is what stats.json says is held
  readers  between removals, others read by every way there is: read(), mmap, safe_open, O_DIRECT,
           of shards and of tensors' files, always the right bytes; some tensors are restored, read
           and consumed again. Of dead pages, which read-ahead may bring back, the removed tensor's
           own are looked at, and all of them at the end. What read-ahead is still reading cannot
           be dropped yet: then it must be counted as held, and go soon"""

import ctypes
import json
import mmap
import os
import random
import subprocess
import sys
import time

try:
    from safetensors import safe_open  # with numpy
except ImportError:
    safe_open = None

PAGE = 4096
REACH = 520  # pages to both sides; folios have 512 at most
HELD_SECONDS, HELD_EVERY = 10, 20
LOST_RATIO = 100
LOWEST_BIT = bytes(b & 1 for b in range(256))
libc = ctypes.CDLL(None, use_errno=True)


class Wrong(Exception):
    pass


class StillThere(Wrong):
    pass


def ints(flags):
    """A run of one byte a page, as a number to compare all at once."""
    return int.from_bytes(flags, "little")


class Shard:
    def __init__(self, path, rows):
        self.path, self.rows = path, rows
        self.fd = os.open(path, os.O_RDONLY)
        self.random_fd = os.open(path, os.O_RDONLY)
        os.posix_fadvise(self.random_fd, 0, 0, os.POSIX_FADV_RANDOM)  # no read-ahead
        self.size = os.fstat(self.fd).st_size
        self.room = bytearray(min(self.size + PAGE, 8 * REACH * PAGE))
        self.pages = (self.size + PAGE - 1) // PAGE
        with open(path, "rb") as f:
            self.bytes = f.read()
        self.map = mmap.mmap(self.fd, self.size, mmap.MAP_SHARED, mmap.PROT_READ)
        with open("/proc/self/maps", encoding="utf-8") as maps:
            self.at = next(int(line.split("-")[0], 16) for line in maps
                           if line.rstrip().endswith(path))
        # How many live tensors (or the header) have bytes in each page, and whether any has.
        self.users, self.live = [0] * self.pages, bytearray(self.pages)
        self.left = len(rows)
        first = int.from_bytes(self.bytes[:8], "little") + 8
        self.header = range(0, (first + PAGE - 1) // PAGE)
        self.use(self.header, 1)
        for row in rows:
            self.use(self.pages_of(row), 1)

    def use(self, pages, change):
        for page in pages:
            self.users[page] += change
            self.live[page] = self.users[page] > 0

    @staticmethod
    def pages_of(row):
        if not row["bytes"]:
            return range(0)
        return range(row["offset"] // PAGE, (row["offset"] + row["bytes"] - 1) // PAGE + 1)

    def resident(self, lo, hi):
        seen = (ctypes.c_ubyte * max(0, hi - lo))()
        if lo < hi and libc.mincore(ctypes.c_void_p(self.at + lo * PAGE),
                                    ctypes.c_size_t((hi - lo) * PAGE), seen):
            raise OSError(ctypes.get_errno(), "mincore")
        return bytes(seen).translate(LOWEST_BIT)

    def dead_and_cached(self, lo, hi):
        cached = self.resident(lo, hi)
        return [page for page, c in enumerate(cached, lo) if c and not self.live[page]]

    def touch(self, lo, hi):
        """Reads the live pages of [lo, hi), and no others."""
        page = lo
        while page < hi:
            end = self.live.find(0, page, hi)
            end = hi if end < 0 else end
            if end > page:
                os.preadv(self.random_fd, [memoryview(self.room)[:(end - page) * PAGE]],
                          page * PAGE)
            page = end + 1

    def check(self, lo, hi, before, dead):
        """Compares [lo, hi) with how it was before; `dead` are pages of it that must be gone.
        Returns a live page that went, or None."""
        cached = self.resident(lo, hi)
        for page in dead:
            if cached[page - lo] and not self.live[page]:
                raise StillThere(f"page {page} is dead and cached")
        if ints(before) & ~ints(cached) & ints(self.live[lo:hi]):
            return next(p for p, (b, c) in enumerate(zip(before, cached), lo)
                        if b and not c and self.live[p])
        return None

    def want(self, row):
        return self.bytes[row["offset"]:row["offset"] + row["bytes"]]


class Run:
    def __init__(self, mount, folder, order):
        self.mount = mount
        with open(os.path.join(mount, ".wload", "index.jsonl"), encoding="utf-8") as f:
            head, *self.rows = [json.loads(line) for line in f]
        self.shards = {}
        for row in self.rows:
            row["shard"] = head["shards"][row["shard"]]["name"]
        for shard in head["shards"]:
            name = shard["name"]
            self.shards[name] = Shard(os.path.join(folder, name),
                                      [r for r in self.rows if r["shard"] == name])
        self.random = random.Random(int(order) if order.isdigit() else 0)
        if order == "reversed":
            self.rows.reverse()
        elif order != "in-order":
            self.random.shuffle(self.rows)
        self.held_seen, self.lost_count = [], 0

    # ---- removing ----

    def names_of(self, row):
        yield os.path.join(self.mount, "tensors", row["file"])
        yield os.path.join(self.mount, "npy", row["file"] + ".npy")
        yield os.path.join(self.mount, "modules", *row["file"].split("."))

    def remove(self, row, by=0):
        names = list(self.names_of(row))
        os.unlink(names[by] if by and os.path.exists(names[by]) else names[0])
        shard = self.shards[row["shard"]]
        shard.left -= 1
        shard.use(shard.pages_of(row), -1)
        if not shard.left:
            shard.use(shard.header, -1)

    def around(self, row):
        shard = self.shards[row["shard"]]
        touched = shard.pages_of(row)
        if not touched:
            return 0, shard.pages
        return max(0, touched.start - REACH), min(shard.pages, touched.stop + REACH)

    def lost(self, page):
        """Keeps count of live pages that went, if one did."""
        if page is not None:
            self.lost_count += 1
            if self.lost_count > 1 + len(self.rows) // LOST_RATIO:
                raise Wrong(f"page {page} is live and was dropped, the {self.lost_count}th so")

    def remove_exactly(self, row, by=0, everywhere=True):
        shard = self.shards[row["shard"]]
        last = shard.left == 1
        lo, hi = (0, shard.pages) if last else self.around(row)
        if everywhere and not last and any(shard.users[p] == 1 for p in shard.pages_of(row)):
            shard.touch(lo, hi)  # pages will die
        before = shard.resident(lo, hi)
        self.remove(row, by)
        dead = range(lo, hi) if everywhere or last else shard.pages_of(row)
        self.until_gone(lambda: self.lost(shard.check(lo, hi, before, dead)), not everywhere)

    def until_gone(self, look, patient):
        """Looks until nothing dead is there: once, or, patient, as long as it is said to be held."""
        end = time.monotonic() + HELD_SECONDS
        while True:
            held = not patient or self.held()
            try:
                return look()
            except StillThere:
                if not patient or not held or time.monotonic() > end:
                    raise
            time.sleep(0.05)

    def held(self):
        with open(os.path.join(self.mount, ".wload", "stats.json"), encoding="utf-8") as f:
            return json.load(f)["held_bytes"]

    def remove_held(self, number, row):
        shard = self.shards[row["shard"]]
        lo, hi = self.around(row)
        before = shard.resident(lo, hi)
        self.remove(row)
        self.lost(shard.check(lo, hi, before, ()))
        if number % HELD_EVERY and number < len(self.rows):
            return
        end = time.monotonic() + HELD_SECONDS
        while True:
            want = sum(len(s.dead_and_cached(0, s.pages)) for s in self.shards.values()) * PAGE
            held = self.held()
            if held == want and (held == 0 or number < len(self.rows)):
                break
            if time.monotonic() > end:
                raise Wrong(f"{held} bytes are held, {want} are dead and cached")
            time.sleep(0.1)
        self.held_seen.append(held)

    # ---- reading ----

    def read_through(self):
        for name in self.shards:
            with open(os.path.join(self.mount, name), "rb", buffering=0) as f:
                while f.read(1 << 20):
                    pass

    def same(self, got, want, how):
        if got != want:
            raise Wrong(f"{how}: other bytes than in the checkpoint")

    def by_read(self, shard, row):
        with open(os.path.join(self.mount, row["shard"]), "rb", buffering=1 << 16) as f:
            f.seek(row["offset"])
            self.same(f.read(row["bytes"]), shard.want(row), "read()")

    def by_mmap(self, shard, row):
        with open(os.path.join(self.mount, row["shard"]), "rb") as f, \
                mmap.mmap(f.fileno(), 0, mmap.MAP_SHARED, mmap.PROT_READ) as m:
            self.same(m[row["offset"]:row["offset"] + row["bytes"]], shard.want(row), "mmap")

    def by_safe_open(self, shard, row):
        if not safe_open or row["dtype"] == "BF16":  # which NumPy lacks
            return self.by_mmap(shard, row)
        with safe_open(os.path.join(self.mount, row["shard"]), "numpy") as f:
            got = f.get_tensor(row["name"]).tobytes()
        return self.same(got, shard.want(row), "safe_open")

    def by_direct(self, shard, row):
        fd = os.open(os.path.join(self.mount, row["shard"]), os.O_RDONLY | os.O_DIRECT)
        lo = row["offset"] // PAGE * PAGE
        with mmap.mmap(-1, (row["offset"] + row["bytes"] - lo) // PAGE * PAGE + PAGE) as room:
            got = os.preadv(fd, [room], lo)
            self.same(room[row["offset"] - lo:got][:row["bytes"]], shard.want(row), "O_DIRECT")
        os.close(fd)

    def by_tensor_file(self, shard, row):
        names = [n for n in self.names_of(row) if os.path.exists(n)]
        with open(self.random.choice(names), "rb") as f:
            self.same(f.read()[-row["bytes"]:] if row["bytes"] else b"", shard.want(row),
                      "a tensor's file")

    def by_tensor_map(self, shard, row):
        if row["bytes"]:
            with open(next(self.names_of(row)), "rb") as f, \
                    mmap.mmap(f.fileno(), 0, mmap.MAP_SHARED, mmap.PROT_READ) as m:
                self.same(m[:], shard.want(row), "a tensor's file, mapped")

    WAYS = (by_read, by_mmap, by_safe_open, by_direct, by_tensor_file, by_tensor_map)

    def read_some(self, rows):
        for _ in range(self.random.randrange(4)):
            row = self.random.choice(rows)
            self.random.choice(self.WAYS)(self, self.shards[row["shard"]], row)

    def restore(self, row):
        with open(os.path.join(self.mount, ".wload", "consume"), "w", encoding="utf-8") as f:
            f.write(f"restore {row['file'].rpartition('.')[0]}\n")  # a module of one tensor
        shard = self.shards[row["shard"]]
        if not shard.left:
            shard.use(shard.header, 1)
        shard.left += 1
        shard.use(shard.pages_of(row), 1)

    # ---- all of it ----

    def step(self, what, number, row):
        if what == "held":
            self.remove_held(number, row)
        elif what == "exact":
            self.remove_exactly(row)
        else:
            rows = self.rows[number - 1:]
            self.read_some(rows)
            self.remove_exactly(row, self.random.randrange(3), everywhere=False)
            if self.random.randrange(4) == 0:
                self.restore(row)
                self.read_some([row])
                self.remove_exactly(row, self.random.randrange(3), everywhere=False)

    def all(self, what):
        self.read_through()
        for number, row in enumerate(self.rows, 1):
            try:
                self.step(what, number, row)
            except Wrong as e:
                pages = Shard.pages_of(row)
                raise Wrong(f"after {number} of {len(self.rows)}, '{row['file']}' ({pages.start} to "
                            f"{pages.stop} of '{row['shard']}'): {e}") from None
        self.until_gone(self.look_with_fincore, what == "readers")

    def look_with_fincore(self):
        for shard in self.shards.values():
            pages = int(subprocess.run(["fincore", "-n", "-o", "PAGES", shard.path], text=True,
                                       capture_output=True, check=True).stdout)
            if pages:
                raise StillThere(f"at the end {pages} pages of '{shard.path}' are cached")


def main(mount, folder, order, what="exact"):
    run = Run(mount, folder, order)
    try:
        run.all(what)
    except Wrong as e:
        print(e)
        return 1
    if what == "held" and not any(run.held_seen):
        print("nothing was ever held")
        return 1
    print("exact")
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
