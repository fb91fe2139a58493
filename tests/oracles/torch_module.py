# SPDX-License-Identifier: Apache-2.0
"""The Python module with torch: what wload.load() gives is what safetensors and torch.cat give.

usage: torch_module.py CKPT DEVICE     (CKPT: a checkpoint of the Llama family, a mount or a folder)

The reference opens the mount's own files, or the folder's, with safetensors. Prints one line, or
fails with the parameter that differs."""

import glob
import os
import re
import sys

import torch
from safetensors import safe_open

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../loader/python"))
import wload  # noqa: E402

FUSED = {"qkv_proj": ("q_proj", "k_proj", "v_proj"), "gate_up_proj": ("gate_proj", "up_proj")}


def sources(name):
    for into, parts in FUSED.items():
        if f".{into}." in name:
            return [name.replace(f".{into}.", f".{part}.") for part in parts]
    return [name]


def reference(path):
    tensors = {}
    for shard in sorted(glob.glob(os.path.join(path, "*.safetensors"))):
        with safe_open(shard, "pt") as f:
            for name in f.keys():
                tensors[name] = f.get_tensor(name).clone()
    return tensors


def main():
    path, device = sys.argv[1:]
    want = reference(path)
    before = torch.cuda.current_device() if device.startswith("cuda") else None
    weights = wload.load(path, device=device, verify=True)
    if before is not None:
        assert torch.cuda.current_device() == before, "the current device changed"
    used = set()
    for name, tensor in weights.items():
        parts = sources(name)
        used.update(parts)
        joined = torch.cat([want[p] for p in parts]) if len(parts) > 1 else want[parts[0]]
        assert tensor.dtype == joined.dtype and tensor.shape == joined.shape, name
        assert tensor.device.type == re.sub(":.*", "", device).replace("host", "cpu"), name
        bits = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}[joined.element_size()]
        assert torch.equal(tensor.cpu().view(bits), joined.view(bits)), name
    report = weights.report
    name, last = next(reversed(weights.items()))
    copy = last.clone()
    del weights, tensor
    assert torch.equal(last.view(torch.uint8), copy.view(torch.uint8)), "a tensor outlives its dict"
    print(f"{report['parameters']} parameters of {len(used)} tensors agree on {report['device']}")


if __name__ == "__main__":
    main()
