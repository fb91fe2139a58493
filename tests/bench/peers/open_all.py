# SPDX-License-Identifier: Apache-2.0
"""safetensors' safe_open over several folders in turn, all tensors of each, copied out of the
mapping so that they are read: prints a line of JSON with the bytes a second of each round.

usage: open_all ROUNDS FOLDER…"""

import json
import os
import sys
import time

from safetensors import safe_open


def read_all(folder):
    begin, size = time.monotonic(), 0
    for entry in sorted(os.scandir(folder), key=lambda e: e.name):
        if entry.name.endswith(".safetensors"):
            with safe_open(entry.path, framework="pt") as f:
                for name in f.keys():
                    tensor = f.get_tensor(name).clone()
                    size += tensor.numel() * tensor.element_size()
    return size / (time.monotonic() - begin)


def main():
    rounds, folders = int(sys.argv[1]), sys.argv[2:]
    for folder in folders:
        read_all(folder)  # not counted: the allocator and the mount's first opens
    print(json.dumps({folder: rates for folder, rates in zip(
        folders, zip(*[[read_all(f) for f in folders] for _ in range(rounds)]))}))


main()
