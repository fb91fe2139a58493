# SPDX-License-Identifier: Apache-2.0
"""A memory cgroup with a limit, of version 1 or 2: what runs in it, the page cache that it fills and
the kernel's memory for it are counted together."""

import os
import secrets

from processes import Failed

TOPS = ("/sys/fs/cgroup/memory", "/sys/fs/cgroup")  # version 2's is /sys/fs/cgroup itself
ENTER = 'echo $$ >"$0/cgroup.procs" && exec "$@"'


class Limit:
    """`with Limit(bytes) as limit:`; whatever runs inside must have ended by its end."""

    def __init__(self, limit_bytes):
        self.bytes = limit_bytes
        self.path = self.peak_fd = None

    def __enter__(self):
        for top in TOPS:
            path = os.path.join(top, f"wload-bench-{secrets.token_hex(4)}")
            try:
                os.mkdir(path)
            except OSError:
                continue
            self.v1 = os.path.exists(os.path.join(path, "memory.limit_in_bytes"))
            try:
                self.path = path
                self._write("memory.limit_in_bytes" if self.v1 else "memory.max", self.bytes)
                return self
            except OSError:
                self.close()
        raise Failed("no memory cgroup can be made here")

    def _write(self, name, value):
        with open(os.path.join(self.path, name), "w", encoding="ascii") as f:
            f.write(str(value))

    def _read(self, name):
        with open(os.path.join(self.path, name), encoding="ascii") as f:
            return f.read()

    def inside(self, argv):
        """The command that runs another one in it."""
        return ["sh", "-c", ENTER, self.path, *argv]

    def forget_peak(self):
        """From here on the peak counts anew, where the kernel can (version 2: Linux 6.12)."""
        if self.v1:
            self._write("memory.max_usage_in_bytes", 0)
            return
        fd = os.open(os.path.join(self.path, "memory.peak"), os.O_RDWR)
        try:
            os.write(fd, b"reset")
            self.peak_fd = fd
        except OSError:
            os.close(fd)

    def peak(self):
        if self.v1:
            return int(self._read("memory.max_usage_in_bytes"))
        if self.peak_fd is not None:
            return int(os.pread(self.peak_fd, 64, 0))
        return int(self._read("memory.peak"))

    def hits(self):
        """How often the limit was in the way."""
        if self.v1:
            return int(self._read("memory.failcnt"))
        return int(dict(line.split() for line in self._read("memory.events").splitlines())["max"])

    def close(self):
        if self.peak_fd is not None:
            os.close(self.peak_fd)
            self.peak_fd = None
        if self.path:
            try:
                os.rmdir(self.path)
            except OSError:
                pass
            self.path = None

    def __exit__(self, *exception):
        self.close()
