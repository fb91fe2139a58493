# SPDX-License-Identifier: Apache-2.0
"""Even ground for those who load into fresh host memory.

A virtual machine's host hands memory over when it is touched for the first time, some at a
thousandth of a second for 2 MiB. Whoever allocates huge pages is given untouched memory sooner than
who allocates small ones that others have just freed, so without this some pay for what others do
not: one loader was measured at 0.9 GB/s and, right after as much memory had been touched, at 9."""

import sys

import environment

TOUCH = """
import mmap, sys
left = int(sys.argv[1])
maps = []
while left > 0:
    n = min(left, 1 << 30)
    maps.append(mmap.mmap(-1, n, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS))
    if hasattr(mmap, "MADV_HUGEPAGE"):
        maps[-1].madvise(mmap.MADV_HUGEPAGE)
    for at in range(0, n, 4096):
        maps[-1][at] = 1
    left -= n
"""
SHARE = 0.85  # of what is free
SPARE_BYTES = 1 << 30


def touch_memory(processes, wanted):
    """Touches so much free memory, and gives it back: right before a load, for a host may take
    memory back that was free for a second or two."""
    free = int(environment.memory_bytes("MemFree") * SHARE)
    processes.run([sys.executable, "-c", TOUCH, str(min(free, wanted + SPARE_BYTES))], 300)
