# SPDX-License-Identifier: Apache-2.0
"""Of a slow oracle's cases all in a release build, and a third in any other, unless FULL=1.

The one idea: a case's name alone decides, so that every run takes the same ones. Of each family and
of each way to load some are left, which is what a sanitizer needs; results are the release build's."""

import os
import zlib

BUILD = os.environ.get("BUILD", "release")
ONE_OF = 3
IS_WHOLE = BUILD == "release" or os.environ.get("FULL") == "1"

seen = taken = 0


def takes(name):
    """Is the case of that name to run? Asked once of each, for the sum."""
    global seen, taken
    is_taken = IS_WHOLE or zlib.crc32(name.encode()) % ONE_OF == 0
    seen += 1
    taken += is_taken
    return is_taken


def tell():
    """A line of TAP that says how many cases ran, where it is not all."""
    if taken < seen:
        print(f"# {BUILD}: {taken} of {seen} cases, FULL=1 takes all", flush=True)
