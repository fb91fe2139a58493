# SPDX-License-Identifier: Apache-2.0
"""The bytes of made tensors: every one of them tells where it belongs.

The aligned 8-byte little-endian word at byte o of a tensor is

    fnv1a32(name) << 32 | (o / 8 mod 2^32)

and a tail shorter than a word is the leading bytes of that word. So any read of any part of a
tensor, by any path, proves itself: which tensor, and which offset.

A sparse tensor holds only stamps of the same pattern: its first 64 bytes and its last (from the
last word boundary that leaves at least 64), or all of it when it has at most 4 KiB.

No NumPy: within 512 KiB only the two low bytes of the count vary, so one block serves as a template
whose other bytes are set by strided slice assignments, which run at memory speed.
"""

from array import array
import sys

BLOCK = 1 << 19  # 65,536 words: the two low bytes of the count run through once
WORDS = BLOCK // 8
STAMP = 64
STAMP_WHOLE = 4096


def fnv1a32(name):
    h = 0x811C9DC5
    for byte in name.encode("utf-8", "surrogatepass"):
        h = ((h ^ byte) * 0x01000193) & 0xFFFFFFFF
    return h


def stamps(length):
    """The ranges [begin, end) of a sparse tensor that hold its pattern."""
    if length <= STAMP_WHOLE:
        return [(0, length)] if length else []
    return [(0, STAMP), ((length - STAMP) & ~7, length)]


def words(h, begin, end):
    """The pattern's bytes [begin, end), begin on a word boundary: for short ranges."""
    if (end >> 35) != (begin >> 35):  # the count wraps inside: word by word
        return b"".join((h << 32 | (i & 0xFFFFFFFF)).to_bytes(8, "little")
                        for i in range(begin // 8, -(-end // 8)))[:end - begin]
    base = h << 32
    low = (begin // 8) & 0xFFFFFFFF
    block = array("Q", range(base + low, base + low + -(-(end - begin) // 8)))
    if sys.byteorder == "big":
        block.byteswap()
    return block.tobytes()[:end - begin]


class Pattern:
    """Makes whole blocks. One a process: the template is kept from tensor to tensor."""

    def __init__(self):
        count = bytes(range(256))
        self._block = bytearray(BLOCK)
        self._block[0::8] = count * (WORDS // 256)
        self._block[1::8] = b"".join(bytes([b]) * 256 for b in count)
        self._planes = [0] * 8

    def _plane(self, i, value):
        if self._planes[i] != value:
            self._block[i::8] = bytes([value]) * WORDS
            self._planes[i] = value

    def block(self, h, index):
        """The pattern's bytes [index * BLOCK, (index + 1) * BLOCK); valid until the next call."""
        self._plane(2, index & 255)
        self._plane(3, index >> 8 & 255)
        for i in range(4):
            self._plane(4 + i, h >> 8 * i & 255)
        return self._block

    def pieces(self, h, begin, end):
        """The pattern's bytes [begin, end) in pieces of at most a block; begin on a word."""
        while begin < end:
            index, skip = divmod(begin, BLOCK)
            stop = min(end, (index + 1) * BLOCK)
            if stop - begin <= 16384:
                yield words(h, begin, stop)
            elif stop - begin == BLOCK:
                yield self.block(h, index)
            else:
                yield bytes(memoryview(self.block(h, index))[skip:skip + stop - begin])
            begin = stop


def first_difference(have, want):
    """The index of the first byte that differs, or None."""
    if have == want:
        return None
    for i, (a, b) in enumerate(zip(have, want)):
        if a != b:
            return i
    return min(len(have), len(want))
