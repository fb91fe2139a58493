# SPDX-License-Identifier: Apache-2.0
"""What every loader's process has in common: it gets ready, waits, loads, and proves what it has.

Lines on stdin and stdout: it says {"ready": …} with everything imported and the device's context
made; at "go" it loads and says {"seconds": …, "bytes": …} when every tensor is on the device; at
"check FILE" it compares each tensor's words with the sums in FILE and says {"wrong": [names], …};
at the end of input it goes. Only what happens between "go" and its answer is timed. One that knows
how its bytes reached the device says so too: {"arrived": [[seconds, bytes], …]}.

A loader is a function (folder, files, device, options) -> {name: tensor}, or a dict and something
that must live as long.
"""

import argparse
import json
import os
import sys
import time

MASK = (1 << 64) - 1


def quiet_stdout():
    """Libraries may print; only we answer. What they print goes to stderr."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return answers


def torch_words(tensor):
    """(bytes, sum of whole 8-byte words) of a contiguous torch tensor."""
    import torch

    flat = tensor.reshape(-1).view(torch.uint8)
    words = flat[:flat.numel() // 8 * 8]
    if not words.numel():
        return flat.numel(), 0
    if words.storage_offset() % 8 or words.data_ptr() % 8:
        words = words.clone()
    return flat.numel(), int(words.view(torch.int64).sum().item())


def numpy_words(array):
    import numpy

    flat = numpy.ascontiguousarray(array).reshape(-1).view(numpy.uint8)
    words = flat[:flat.size // 8 * 8]
    return flat.size, int(words.view(numpy.uint64).sum(dtype=numpy.uint64))


def word_sum(tensor):
    """(bytes, sum of whole 8-byte words modulo 2^64)."""
    size, total = (torch_words if hasattr(tensor, "data_ptr") else numpy_words)(tensor)
    return size, total & MASK


def check(tensors, expected):
    """Compares tensors by name; those that were fused into others, all together."""
    wrong, left_bytes, left_sum = [], 0, 0
    for name, tensor in tensors.items():
        size, words = word_sum(tensor)
        want = expected.pop(name, None)
        if want is None:
            left_bytes, left_sum = left_bytes + size, left_sum + words
        elif [size, words] != want:
            wrong.append(name)
    fused = [left_bytes, left_sum & MASK]
    want = [sum(b for b, _ in expected.values()), sum(s for _, s in expected.values()) & MASK]
    if fused != want:
        wrong.append(f"{len(expected)} tensors, fused or missing")
    return wrong


def arrived(tensors, seconds):
    """By the loader's own samples, whose time begins when it has opened everything: they are put
    where the last one is the end of the call."""
    samples = getattr(tensors, "samples", [])
    late = max(0.0, seconds - samples[-1].seconds) if samples else 0.0
    return [[round(late + s.seconds, 4), s.device_bytes] for s in samples]


def main(load, add_options=None):
    answers = quiet_stdout()

    def say(**what):
        print(json.dumps(what), file=answers, flush=True)

    parser = argparse.ArgumentParser()
    parser.add_argument("--device", default="cpu")
    parser.add_argument("folder")
    if add_options:
        add_options(parser)
    options = parser.parse_args()
    files = sorted(e.path for e in os.scandir(options.folder)
                   if e.name.endswith(".safetensors"))
    # Without torch a loader that can do without gives NumPy's arrays, on the CPU.
    try:
        import torch
    except ImportError:
        torch = None
    on_gpu = options.device.startswith("cuda")
    if on_gpu:
        torch.zeros(1, device=options.device)
        torch.cuda.synchronize()
    say(ready=os.getpid())
    tensors, alive = None, None
    for line in sys.stdin:
        word, _, argument = line.strip().partition(" ")
        if word == "go":
            begin = time.monotonic()
            tensors = load(options.folder, files, options.device, options)
            if isinstance(tensors, tuple):
                tensors, alive = tensors
            if on_gpu:
                torch.cuda.synchronize()
            seconds = time.monotonic() - begin
            say(seconds=seconds, tensors=len(tensors),
                bytes=sum(t.nbytes for t in tensors.values()), arrived=arrived(tensors, seconds))
        elif word == "check":
            with open(argument, encoding="utf-8") as f:
                expected = json.load(f)
            say(wrong=check(tensors, expected)[:5])
    del alive
    answers.flush()
    os._exit(0)  # tearing down a loader's threads and a device's context is nobody's time
