# SPDX-License-Identifier: Apache-2.0
"""fastsafetensors: all files in one fastsafe_open, with GPUDirect Storage only where the machine
has it. Its own readers use O_DIRECT, and the page cache with FASTSAFETENSORS_ODIRECT=0."""

import os

import harness
from fastsafetensors import fastsafe_open


def load(folder, files, device, options):
    nogds = device == "cpu" or not os.path.exists("/proc/driver/nvidia-fs")
    f = fastsafe_open(list(files), framework="pt", device=device, nogds=nogds)
    return {name: f.get_tensor(name) for name in f.keys()}, f


harness.main(load)
