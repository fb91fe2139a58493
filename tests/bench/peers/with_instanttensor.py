# SPDX-License-Identifier: Apache-2.0
"""InstantTensor: all files in one safe_open, tensors that own their memory, as its README says.
It reads files on a disk directly and files of a tmpfs mapped; for files that are in the page cache
its README recommends BackendPolicy.BUFFERED."""

import harness
from instanttensor import BackendPolicy, safe_open


def add_options(parser):
    parser.add_argument("--buffered", action="store_true")


def load(folder, files, device, options):
    backend = BackendPolicy.BUFFERED if options.buffered else None
    with safe_open(list(files), framework="pt", device=device, backend=backend) as f:
        return dict(f.tensors())


harness.main(load, add_options)
