# SPDX-License-Identifier: Apache-2.0
"""Watches the host memory that another process takes, beyond what it had when it was ready.

The one idea: a byte of host memory is counted once. The process's anonymous memory is its own.
Its shared memory is too (pinned buffers are often that), but for tmpfs files that it maps: they
were there before, so no more of it counts than the whole machine's shared memory grew by. File
pages that it maps are in the page cache, and of that what the files gained since then is counted,
mapped or not. Others' use is never in it. Looking must not slow what is looked at: the expensive
looks (page cache, smaps_rollup, each apart) are rationed to a small part of the time.
"""

import os
import threading
import time

LOOK_SECONDS = 0.01
CACHE_SECONDS, CACHE_RATIO = 0.02, 20    # between two looks, at least; and times the last one's cost
ROLLUP_SECONDS, ROLLUP_RATIO = 0.2, 100  # it walks page tables, which faults wait for


def read_fields(path, names):
    """Fields 'Name:  N kB' of a file of /proc, in bytes; what is not there is 0."""
    found = dict.fromkeys(names, 0)
    with open(path, "rb") as f:
        for line in f.read().decode("ascii", "replace").split("\n"):
            name, _, rest = line.partition(":")
            if name in found:
                found[name] = int(rest.split()[0]) * 1024
    return found


def descendants(pid):
    """The process and its children's children, as far as the kernel tells."""
    found, todo = [], [pid]
    while todo:
        each = todo.pop()
        found.append(each)
        try:
            for task in os.listdir(f"/proc/{each}/task"):
                with open(f"/proc/{each}/task/{task}/children", encoding="ascii") as f:
                    todo += map(int, f.read().split())
        except OSError:
            pass
    return found


def private_and_shared(pids):
    private = shared = 0
    for pid in pids:
        try:
            now = read_fields(f"/proc/{pid}/status", ("RssAnon", "RssShmem", "HugetlbPages"))
        except (OSError, ValueError, IndexError):
            continue  # it ended
        private += now["RssAnon"] + now["HugetlbPages"]  # a pool's huge pages are in no Rss
        shared += now["RssShmem"]
    return private, shared


def rollup(pid):
    try:
        return read_fields(f"/proc/{pid}/smaps_rollup", ("Rss", "Pss", "Locked"))
    except OSError:
        return {}


def machine():
    return read_fields("/proc/meminfo", ("Shmem", "MemAvailable"))


class Ration:
    """An expensive look, done only so often that it costs little of the time."""

    def __init__(self, do, seconds, ratio):
        self.do, self.seconds, self.ratio, self.next = do, seconds, ratio, 0

    def look(self, surely):
        begin = time.monotonic()
        if surely or begin >= self.next:
            self.do()
            cost = time.monotonic() - begin
            self.next = begin + max(self.seconds, cost * self.ratio)


class Watch:
    """Looks from start() to stop(); the series is of (seconds, bytes)."""

    def __init__(self, pid, files):
        self.pid, self.files = pid, files
        self.series, self.available_taken, self.pss_peak = [], 0, 0
        self._added_cache = 0
        self._rations = [Ration(self._look_at_cache, CACHE_SECONDS, CACHE_RATIO),
                         Ration(self._look_at_maps, ROLLUP_SECONDS, ROLLUP_RATIO)]
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self):
        self.pids = descendants(self.pid)
        self.before = private_and_shared(self.pids)
        self.machine_before = machine()
        self.cached_before = self.files.cached()
        self.rollup_before = rollup(self.pid)
        self.begin = time.monotonic()
        self._thread.start()

    def _look_at_cache(self):
        self._added_cache = max(0, self.files.cached() - self.cached_before)

    def _look_at_maps(self):
        self.pids = descendants(self.pid)
        self.pss_peak = max(self.pss_peak, rollup(self.pid).get("Pss", 0))

    def look(self, all_of_it=False):
        now = time.monotonic()
        for ration in self._rations:
            ration.look(all_of_it)
        private, shared = private_and_shared(self.pids)
        here = machine()
        grown = max(0, here["Shmem"] - self.machine_before["Shmem"])
        taken = max(0, private - self.before[0])
        taken += min(max(0, shared - self.before[1]), grown)
        self.series.append((round(now - self.begin, 4), taken + self._added_cache))
        self.available_taken = max(self.available_taken, self.machine_before["MemAvailable"]
                                   - here["MemAvailable"])

    def _run(self):
        while not self._stopped.is_set():
            self.look()
            self._stopped.wait(LOOK_SECONDS)

    def stop(self):
        self._stopped.set()
        self._thread.join()
        self.look(all_of_it=True)

    def give_up(self):
        """Ends the looking, whatever it saw."""
        self._stopped.set()

    @property
    def peak(self):
        return max(b for _, b in self.series)

    def detail(self):
        """What the machine as a whole and the process's own maps say beside it."""
        return {"machine_available_taken": self.available_taken,
                "pss_growth": max(0, self.pss_peak - self.rollup_before.get("Pss", 0)),
                "cache_added": self._added_cache}


def thinned(series, most=400):
    """A series of at most `most` points that keeps its peaks: of each run the highest point."""
    if len(series) <= most:
        return [list(p) for p in series]
    step = -(-len(series) // (most - 2))
    inner = [max(series[i:i + step], key=lambda p: p[1])
             for i in range(1, len(series) - 1, step)]
    return [list(p) for p in [series[0], *inner, series[-1]]]


class Cgroup:
    """A cgroup (v2) of its own for a process, where one may be made: its memory.peak counts what
    the process and the page cache that it filled took together."""

    def __init__(self):
        self.path, self.why = None, "no memory.peak here"
        try:
            with open("/proc/self/cgroup", encoding="ascii") as f:
                inside = [line.rstrip("\n")[3:] for line in f if line.startswith("0::")]
            path = f"/sys/fs/cgroup{inside[0].rstrip('/')}/wload-bench-{os.getpid()}"
            os.mkdir(path)
            self.path = path
            if not os.path.exists(os.path.join(path, "memory.peak")):
                self.close()
        except (OSError, IndexError) as e:
            self.why = f"no cgroup of its own: {e}"

    def enter(self, pid):
        try:
            if self.path:
                with open(os.path.join(self.path, "cgroup.procs"), "w", encoding="ascii") as f:
                    f.write(str(pid))
        except OSError as e:
            self.why = f"a process may not be moved: {e}"
            self.close()

    @staticmethod
    def leave(pid):
        """Back to where it came from, or the cgroup can't be removed."""
        try:
            with open("/proc/self/cgroup", encoding="ascii") as f:
                home = next(line.rstrip("\n")[3:] for line in f if line.startswith("0::"))
            with open(f"/sys/fs/cgroup{home}/cgroup.procs", "w", encoding="ascii") as f:
                f.write(str(pid))
        except (OSError, StopIteration):
            pass

    def peak(self):
        if not self.path:
            return None
        with open(os.path.join(self.path, "memory.peak"), encoding="ascii") as f:
            return int(f.read())

    def close(self):
        if self.path:
            try:
                os.rmdir(self.path)
            except OSError:
                pass
            self.path = None
