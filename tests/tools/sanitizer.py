# SPDX-License-Identifier: Apache-2.0
"""What a Python needs in its environment to load a libwload.so that was built with a sanitizer.

A sanitizer's runtime must be there before anything else of the process, and an interpreter is not
linked with it: so it is preloaded, from where the compiler has it."""

import os
import subprocess

RUNTIMES = {"asan": ("libasan.so", "libubsan.so"), "tsan": ("libtsan.so",)}


def environment(build):
    """The variables that such a process needs besides, by the build's name; none for a release."""
    compiler = os.environ.get("CC", "gcc")
    paths = [subprocess.run([compiler, f"-print-file-name={name}"], text=True, check=True,
                            capture_output=True).stdout.strip()
             for name in RUNTIMES.get(build, ())]
    if not paths:
        return {}
    # The interpreter's own leaks are not ours.
    return {"LD_PRELOAD": " ".join(paths), "ASAN_OPTIONS": "detect_leaks=0"}
