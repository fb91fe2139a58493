# SPDX-License-Identifier: Apache-2.0
"""safetensors' safe_open over several folders in turn, all tensors of each: prints a line of JSON
with the bytes a second of each round, and how many threads copied.

Tensors are a mapping that nothing was read into yet. Each is copied into a buffer that is there
already, as into a model's parameters; new memory for each would take longer than the reading. One
thread copies: where cores are few, torch's wait for each other longer than they read (2 of them:
1 GB/s, where one alone reached 8.8), and then no difference in the reading would show.

usage: open_all ROUNDS FOLDER…"""

import json
import os
import sys
import time

from safetensors import safe_open
import torch


class Scratch:
    """Memory for the largest tensor so far."""

    def __init__(self):
        self.bytes = torch.zeros(0, dtype=torch.uint8)

    def take(self, tensor):
        flat = tensor.reshape(-1).view(torch.uint8)
        if flat.numel() > self.bytes.numel():
            self.bytes = torch.zeros(flat.numel(), dtype=torch.uint8)
        self.bytes[:flat.numel()].copy_(flat)
        return flat.numel()


def read_all(folder, scratch):
    begin, size = time.monotonic(), 0
    for entry in sorted(os.scandir(folder), key=lambda e: e.name):
        if entry.name.endswith(".safetensors"):
            with safe_open(entry.path, framework="pt") as f:
                for name in f.keys():
                    size += scratch.take(f.get_tensor(name))
    return size / (time.monotonic() - begin)


def main():
    rounds, folders = int(sys.argv[1]), sys.argv[2:]
    torch.set_num_threads(1)
    scratch, rates = Scratch(), {folder: [] for folder in folders}
    for folder in folders:
        read_all(folder, scratch)  # not counted: the buffer's memory and the mount's first opens
    for number in range(rounds):
        for folder in folders if number % 2 == 0 else folders[::-1]:
            rates[folder].append(read_all(folder, scratch))
    print(json.dumps({"threads": torch.get_num_threads(), "rates": rates}))


main()
