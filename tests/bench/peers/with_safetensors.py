# SPDX-License-Identifier: Apache-2.0
"""safetensors' load_file, a file at a time. On the CPU its tensors are a mapping that nothing was
read into yet: there a byte of each page is read, to have the others' state."""

import harness
import torch
from safetensors.torch import load_file

PAGE = 4096


def add_options(parser):
    parser.add_argument("--backend", default="mmap")


def load(folder, files, device, options):
    tensors = {}
    for path in files:
        # A release without other backends takes no such argument.
        more = {} if options.backend == "mmap" else {"backend": options.backend}
        tensors.update(load_file(path, device=device, **more))
    if device == "cpu":
        for tensor in tensors.values():
            tensor.reshape(-1).view(torch.uint8)[::PAGE].sum()
    return tensors


harness.main(load, add_options)
