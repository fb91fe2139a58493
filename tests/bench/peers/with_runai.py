# SPDX-License-Identifier: Apache-2.0
"""Run:ai Model Streamer: all files in one stream to the device, tensors owned by the caller.
It takes the first of io_uring_direct, libaio_direct and sync_buffered that works, 16 readers; the
page cache is asked for with RUNAI_STREAMER_FS_STRATEGY."""

import harness
from runai_model_streamer import SafetensorsStreamer


def load(folder, files, device, options):
    with SafetensorsStreamer() as streamer:
        streamer.stream_files(list(files), device=device)
        # A release that streams to host memory only leaves the copy to its caller.
        return {name: tensor.to(device) for name, tensor in streamer.get_tensors()}


harness.main(load)
