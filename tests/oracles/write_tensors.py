# SPDX-License-Identifier: Apache-2.0
"""Writes a safetensors file of arrays, whose data types NumPy need not know."""

import json


def write(path, tensors):
    """{name: (data type, array)}, the elements as integers."""
    header, at = {"__metadata__": {"format": "pt"}}, 0
    for name, (dtype, array) in tensors.items():
        header[name] = {"dtype": dtype, "shape": list(array.shape),
                        "data_offsets": [at, at + array.nbytes]}
        at += array.nbytes
    text = json.dumps(header).encode()
    with open(path, "wb") as f:
        f.write(len(text).to_bytes(8, "little") + text)
        for _, array in tensors.values():
            f.write(array.tobytes())
