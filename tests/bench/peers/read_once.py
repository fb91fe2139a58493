# SPDX-License-Identifier: Apache-2.0
"""Opens a folder's checkpoint with safetensors' safe_open and takes every tensor once, dropping each
before the next, as a loader that moves them to a device does. Prints a line of JSON.

usage: read_once FOLDER"""

import json
import os
import sys
import time

from safetensors import safe_open

try:
    import torch
except ImportError:
    import ml_dtypes  # noqa: F401  (NumPy's bfloat16)
    torch = None


class Scratch:
    """Where a tensor is copied to: torch's are a mapping that nothing was read into yet; NumPy's are
    copies already."""

    def __init__(self):
        self.bytes = torch.zeros(0, dtype=torch.uint8) if torch else None

    def take(self, tensor):
        if not torch:
            return tensor.nbytes
        flat = tensor.reshape(-1).view(torch.uint8)
        if flat.numel() > self.bytes.numel():
            self.bytes = torch.zeros(flat.numel(), dtype=torch.uint8)
        self.bytes[:flat.numel()].copy_(flat)
        return flat.numel()


def main():
    folder, scratch, size = sys.argv[1], Scratch(), 0
    if torch:
        torch.set_num_threads(1)
    begin = time.monotonic()
    for entry in sorted(os.scandir(folder), key=lambda e: e.name):
        if entry.name.endswith(".safetensors"):
            with safe_open(entry.path, framework="pt" if torch else "numpy") as f:
                for name in f.keys():
                    size += scratch.take(f.get_tensor(name))
    print(json.dumps({"seconds": time.monotonic() - begin, "bytes": size}))


main()
