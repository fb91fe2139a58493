#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Checks that our parser accepts and refuses what the reference implementation does.

usage: safetensors_agrees.py PARSE_HEADER CORPUS [MUTATIONS [SEED]]

Feeds every file of CORPUS, then MUTATIONS random changes of them, to the safetensors package (0.8)
and to PARSE_HEADER (tests/tools/parse_header.c), and compares the verdict and, of accepted files,
every tensor. Prints TAP; skips (77) without the package. SEED repeats a run."""

import os
import random
import struct
import subprocess
import sys

try:
    import safetensors
except ImportError:
    print("1..0 # SKIP no Python package safetensors")
    sys.exit(77)

PIECES = [b'"', b"\\", b"{", b"}", b"[", b"]", b",", b":", b"0", b"-", b"1e9", b".5", b"\\u0000",
          b"\\ud800", b"null", b"true", b" ", b"\n", b"\x00", b"\x7f", b"\x80", b"\xc3\xa9", b"\xff",
          b"18446744073709551616", b"9223372036854775808", b'"dtype"', b'"shape"', b'"data_offsets"',
          b'"U8"', b'"F4"', b'"F32"', b'"__metadata__"', b'"a"', b'"b"', b"[0,1]", b"[]", b"{}",
          b'"x":1,', b'"F8_E4M3"', b'{"U8":null}']


class Ours:
    def __init__(self, program):
        self.process = subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def ask(self, data):
        self.process.stdin.write(struct.pack("<Q", len(data)) + data)
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            sys.exit(f"Bail out! the parser ended on {data!r}")
        return line.decode("utf-8", "replace").rstrip("\n")


def modified_utf8(name):
    return name.encode().replace(b"\0", b"\xc0\x80")


def described(data):
    """The reference's tensors as PARSE_HEADER prints them, or its error."""
    try:
        tensors = safetensors.deserialize(data)
    except safetensors.SafetensorError as error:
        return None, str(error)
    # deserialize() gives no offsets; they tile in disk order, and sizes tell them apart no better,
    # so compare as a set: name, type, shape, size
    return sorted((modified_utf8(name).hex(), t["dtype"], len(t["data"]), tuple(t["shape"]))
                  for name, t in tensors), ""


def ours_described(line):
    if not line.startswith("accept"):
        return None
    tensors = []
    for part in line[len("accept"):].split("[")[1:]:
        name, dtype, begin, end, *shape = part.rstrip("] ").split(" ")
        tensors.append((name, dtype, int(end) - int(begin), tuple(map(int, shape))))
    return sorted(tensors)


def disagreement(ours, data):
    want, why = described(data)
    line = ours.ask(data)
    if ours_described(line) == want:
        return None
    return f"reference {why or want}; ours {line[:300]}"


def mutate(rng, corpus):
    data = rng.choice(corpus)
    length = struct.unpack("<Q", data[:8])[0] if len(data) >= 8 else 0
    header, rest = bytearray(data[8:8 + min(length, 4096)]), data[8 + length:]
    for _ in range(rng.choice((1, 1, 1, 2, 3, 6))):
        at = rng.randrange(len(header) + 1)
        kind = rng.randrange(6)
        if kind == 0:
            header[at:at] = rng.choice(PIECES)
        elif kind == 1:
            header[at:at + rng.randrange(1, 8)] = b""
        elif kind == 2:
            header[at:at + rng.randrange(1, 8)] = rng.choice(PIECES)
        elif kind == 3 and header:
            header[at % len(header)] ^= 1 << rng.randrange(8)
        elif kind == 4:
            end = at + rng.randrange(1, 60)
            header[at:at] = header[at:end]
        elif kind == 5:
            other = rng.choice(corpus)[8:]
            start = rng.randrange(len(other) + 1)
            header[at:at] = other[start:start + rng.randrange(1, 60)]
    if rng.randrange(20) == 0:
        rest = rest[:-1] if rng.randrange(2) else rest + b"\0"
    length = len(header) if rng.randrange(50) else max(0, len(header) + rng.randrange(-2, 3))
    return struct.pack("<Q", length) + bytes(header) + rest


def check_corpus(ours, folder):
    corpus, failed = [], 0
    for number, name in enumerate(sorted(os.listdir(folder)), 1):
        with open(os.path.join(folder, name), "rb") as file:
            data = file.read()
        wrong = disagreement(ours, data)
        accepted = described(data)[0] is not None
        if not wrong and accepted != name.startswith("good-"):
            wrong = f"named {name.split('-')[0]}, but the reference says {accepted}"
        failed += bool(wrong)
        print(f"{'not ok' if wrong else 'ok'} {number} - {name}{': ' + wrong if wrong else ''}")
        corpus.append(data)
    return corpus, failed


def check_mutations(ours, corpus, count, seed):
    rng, wrong, accepted = random.Random(seed), 0, 0
    for _ in range(count):
        data = mutate(rng, corpus)
        why = disagreement(ours, data)
        accepted += described(data)[0] is not None
        if why:
            wrong += 1
            print(f"# {data!r}: {why}")
    verdict = "not ok" if wrong else "ok"
    print(f"{verdict} {len(corpus) + 1} - {count} mutations, {accepted} accepted, "
          f"{wrong} disagreements (SEED={seed})")
    return wrong


def main():
    program, folder = sys.argv[1:3]
    mutations = int(sys.argv[3]) if len(sys.argv) > 3 else 2000
    seed = int(sys.argv[4]) if len(sys.argv) > 4 else int(os.environ.get("SEED") or
                                                          random.randrange(1 << 32))
    ours = Ours(program)
    corpus, failed = check_corpus(ours, folder)
    failed += check_mutations(ours, corpus, mutations, seed)
    print(f"1..{len(corpus) + 1}")
    sys.exit(1 if failed or not corpus else 0)


if __name__ == "__main__":
    main()
