# SPDX-License-Identifier: Apache-2.0
"""Mounts with an owner: a daemon of ours in the foreground, ended by its id, its mount gone."""

import ctypes
import os
import re
import subprocess
import time

from processes import Failed, last_line

MNT_DETACH = 2
_libc = ctypes.CDLL(None, use_errno=True)


def fuse_reason():
    """Why nothing can be mounted here, or None."""
    if not os.access("/dev/fuse", os.R_OK | os.W_OK):
        return "no /dev/fuse here"
    return None


def point_of(line):
    """The mount point in a line of mountinfo, where blanks are \\040."""
    return re.sub(rb"\\([0-7]{3})", lambda m: bytes([int(m[1], 8)]), line.split(b" ")[4])


def is_mounted(path):
    # What is above it may be a link; it itself may be a mount that does not answer.
    above, name = os.path.split(path)
    real = os.fsencode(os.path.join(os.path.realpath(above), name))
    with open("/proc/self/mountinfo", "rb") as f:
        return any(point_of(line) == real for line in f)


def detach(point):
    """A mount whose daemon is gone; without root it is fusermount3's to end."""
    if _libc.umount2(os.fsencode(point), MNT_DETACH) == 0:
        return
    try:
        subprocess.run(["fusermount3", "-u", "-z", point], stdin=subprocess.DEVNULL, timeout=10,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
    except (OSError, subprocess.SubprocessError):
        pass  # whoever looks for the mount still finds it


class Mount:
    """`with Mount(…) as mount:`; the daemon answers inside."""

    def __init__(self, processes, argv, point, cpu=None, stdin_path=os.devnull):
        self.processes, self.point = processes, point
        self.argv, self.cpu, self.stdin_path = argv, cpu, stdin_path
        self.daemon = None

    def __enter__(self):
        reason = fuse_reason()
        if reason:
            raise Failed(reason)
        os.makedirs(self.point, exist_ok=True)
        self.log = open(self.point + ".log", "w+", encoding="utf-8")
        try:
            self._start()
        except BaseException:
            self._end()
            raise
        return self

    def _start(self):
        end = time.monotonic() + self.processes.left(60)
        with open(self.stdin_path, "rb") as stdin:
            self.daemon = self.processes.start(self.argv, self.cpu, stdin=stdin,
                                               stdout=self.log, stderr=subprocess.STDOUT)
        while not is_mounted(self.point):
            if self.daemon.poll() is not None or time.monotonic() > end:
                self.log.seek(0)
                raise Failed(f"'{os.path.basename(self.argv[0])}' did not mount: "
                             f"{last_line(self.log.read())}")
            time.sleep(0.0005)

    def resident(self):
        """The daemon's resident bytes."""
        with open(f"/proc/{self.daemon.pid}/statm", encoding="ascii") as f:
            return int(f.read().split()[1]) * os.sysconf("SC_PAGESIZE")

    def path(self, *parts):
        return os.path.join(self.point, *parts)

    def _end(self):
        # A daemon unmounts itself on SIGTERM; a dead one leaves its mount.
        status = self.processes.stop(self.daemon) if self.daemon else 0
        if is_mounted(self.point):
            detach(self.point)
        self.log.close()
        os.unlink(self.point + ".log")
        return status

    def __exit__(self, *exception):
        status = self._end()
        if status and not any(exception):
            raise Failed(f"'{os.path.basename(self.argv[0])}' ended with {status}")


def wloadfs(bench, checkpoint, cpu=None, options=(), inside=list):
    """A mount of a checkpoint; `inside` makes a command of one, to run it somewhere."""
    point = bench.scratch("mnt")
    return Mount(bench.processes, inside([bench.built("wloadfs"), "-f", *options,
                                          checkpoint.folder, point]), point, cpu)


def noop_server(bench, names_path, cpu=None):
    return Mount(bench.processes, [bench.built("bench/noop_server"), bench.scratch("noop")],
                 bench.scratch("noop"), cpu, names_path)
