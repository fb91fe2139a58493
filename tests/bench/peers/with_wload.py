# SPDX-License-Identifier: Apache-2.0
"""wload, through its Python module, so that it is timed as its peers are: from a context that
stands to torch tensors on the device."""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)),
                                "../../../loader/python"))

import harness  # noqa: E402
import wload  # noqa: E402


def load(folder, files, device, options):
    return wload.load(folder, device=device, consume=False)


harness.main(load)
