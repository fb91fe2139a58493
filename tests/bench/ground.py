# SPDX-License-Identifier: Apache-2.0
"""Even ground for those who load into fresh host memory.

A virtual machine's host hands memory over when it is touched for the first time, some at a
thousandth of a second for 2 MiB. Whoever allocates huge pages is given untouched memory sooner than
who allocates small ones that others have just freed, so without this the first ones to load pay for
all: one loader was measured at 0.9 GB/s and, once all memory had been touched, at 9."""

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


def touch_memory(processes):
    """Touches free memory once, and gives it back."""
    free = int(environment.memory_bytes("MemFree") * SHARE)
    processes.run([sys.executable, "-c", TOUCH, str(free)], 300)
