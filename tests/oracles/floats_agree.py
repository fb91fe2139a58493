#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Our small floats are those of ml_dtypes and NumPy.

Every value of each small format, and F32 of all kinds rounded to each: random bits, numbers beside
every value that there is and halfway between two, the limits, NaN. The float formats are the ones
that torch has too. Where theirs overflow ours saturate (F8_E4M3); NaN is one NaN with us.
usage: floats_agree.py [FLOATS]   (build/$BUILD/tests/floats)"""

import os
import subprocess
import sys

try:
    import ml_dtypes
    import numpy as np
except ImportError as e:
    print(f"1..0 # SKIP {e}")
    sys.exit(77)

# name -> type, bits
FORMATS = {"F16": (np.float16, 16), "BF16": (ml_dtypes.bfloat16, 16),
           "F8_E4M3": (ml_dtypes.float8_e4m3fn, 8), "E8M0": (ml_dtypes.float8_e8m0fnu, 8),
           "E2M1": (ml_dtypes.float4_e2m1fn, 4)}
MOST = {"F8_E4M3": 448, "E2M1": 6}
NAN = {"F16": 0x7e00, "BF16": 0x7fc0, "F8_E4M3": 0x7f, "E2M1": 0}


def ask(program, verb, name, data):
    return subprocess.run([program, verb, name], input=data.tobytes(), capture_output=True,
                          check=True).stdout


def values(name):
    """All values of a format, as F32, in the order of their bits."""
    dtype, bits = FORMATS[name]
    numbers = np.arange(1 << bits, dtype=np.uint16 if bits == 16 else np.uint8)
    return numbers, numbers.view(dtype).astype(np.float32)


def same(a, b):
    """Bit for bit, NaN for NaN."""
    return a.shape == b.shape and bool(np.all((a.view(np.uint32) == b.view(np.uint32)) |
                                              (np.isnan(a) & np.isnan(b))))


def read_agrees(program, name):
    numbers, want = values(name)
    if name == "E2M1":  # two a byte: each as the low half and as the high one
        numbers = np.arange(256, dtype=np.uint8)
        want = np.stack([want[numbers & 15], want[numbers >> 4]], axis=1).reshape(-1)
    return same(np.frombuffer(ask(program, "read", name, numbers), np.float32), want)


def numbers_for(name):
    rng = np.random.default_rng(1)
    with np.errstate(all="ignore"):
        there = values(name)[1]
        there = np.unique(np.abs(there[np.isfinite(there)]))
        halfway = ((there[1:].astype(np.float64) + there[:-1]) / 2).astype(np.float32)
        exact = np.concatenate([there, halfway])
        beside = np.concatenate([exact, np.nextafter(exact, np.float32(np.inf)),
                                 np.nextafter(exact, np.float32(-np.inf))])
        near = rng.standard_normal(200000).astype(np.float32) * np.float32(4)
        limits = np.array([0, np.inf, np.nan, 1e-45, 3.4e38, 65504, 65519, 65520, 65536, 448, 464,
                           465, 480, 5, 6, 7, 1e9], np.float32)
    bits = rng.integers(0, 1 << 32, 1000000, dtype=np.uint32).view(np.float32)
    positive = np.concatenate([beside, near, limits])
    return np.concatenate([positive, -positive, bits])


def rounded(name, numbers):
    dtype, bits = FORMATS[name]
    with np.errstate(all="ignore"):
        if name in MOST:
            numbers = np.clip(numbers, -MOST[name], MOST[name])
        want = numbers.astype(dtype)
    want = want.view(np.uint16 if bits == 16 else np.uint8).copy()
    want[np.isnan(numbers)] = NAN[name]
    return want & 15 if bits == 4 else want


def write_agrees(program, name):
    numbers = numbers_for(name)
    want = rounded(name, numbers)
    got = np.frombuffer(ask(program, "write", name, numbers), want.dtype)
    wrong = np.flatnonzero(got != want) if got.shape == want.shape else [0]
    if len(wrong):
        i = wrong[0]
        print(f"# {numbers[i]!r} becomes {got[i]:#x}, should be {want[i]:#x}")
    return not len(wrong)


def main():
    program = sys.argv[1] if len(sys.argv) > 1 else os.path.join(
        os.path.dirname(os.path.abspath(__file__)), "..", "..", "build",
        os.environ.get("BUILD", "release"), "tests", "floats")
    checks = [(f"read {name}", read_agrees, name) for name in FORMATS]
    checks += [(f"round to {name}", write_agrees, name) for name in NAN]
    failed = 0
    for i, (what, check, name) in enumerate(checks):
        good = check(program, name)
        failed += not good
        print(f"{'ok' if good else 'not ok'} {i + 1} - {what}")
    print(f"1..{len(checks)}")
    sys.exit(1 if failed else 0)


main()
