# SPDX-License-Identifier: Apache-2.0
"""What a rank has of a checkpoint by the checkpoint's own names, in NumPy.

The one idea: family_reference.py's modules, of which each source is sliced as it is there, and then put
down by itself, in the shape and order in which the checkpoint has it: packed matrices and tensors of
all experts are taken apart, sliced, and put together again."""

import family_reference
import numpy


class Own(family_reference.Model):
    def fused(self, into, sources, requantise=False):
        for module, way in sources:
            self.linear(module, way)

    def packed_attention(self, module, by_groups):
        heads, kv = self.config["num_attention_heads"], self.config["num_key_value_heads"]
        for leaf, name in self.leaves(module + ".qkv_proj").items():
            array = self.take(name)
            rest, dim = array.shape[1:], array.shape[0] // (heads + 2 * kv)
            if by_groups and self.tp <= kv:
                if kv % self.tp:
                    raise family_reference.Impossible
                # a rank's key-value heads, each behind its queries
                self.put(name, self.dtype(name), self.column(
                    array.reshape(kv, -1, *rest)).reshape(-1, *rest))
                continue
            if by_groups:  # one key-value head, and some of its queries
                view = array.reshape(kv, heads // kv + 2, dim, *rest)
                q, k, v = view[:, :-2], view[:, -2], view[:, -1]
            else:
                q, k, v = numpy.split(array, [heads * dim, (heads + kv) * dim])
            self.put(name, self.dtype(name), numpy.concatenate(
                [self.heads(q.reshape(-1, *rest)), self.kv_heads(k.reshape(-1, *rest)),
                 self.kv_heads(v.reshape(-1, *rest))]))
        self.linear(module + ".o_proj", self.row)

    def packed_gate_up(self, module, packed, up_first=False):
        for leaf, name in self.leaves(f"{module}.{packed}").items():
            self.put(name, self.dtype(name), numpy.concatenate(
                [self.column(half) for half in numpy.split(self.take(name), 2)]))
        self.linear(module + ".down_proj", self.row)

    def latent_attention(self, module):
        for leaf, name in self.leaves(module + ".kv_b_proj").items():
            self.put(name, self.dtype(name), self.heads(self.take(name)))
        for part, way in (("q_a_proj", self.whole), ("kv_a_proj_with_mqa", self.whole),
                          ("q_b_proj", self.heads), ("o_proj", self.row)):
            self.linear(f"{module}.{part}", way)

    def unfuse(self, module, tensor, parts, leaf, interleaved=False, transposed=False):
        """Each part's share of each expert, back in its place."""
        name = f"{module}.{tensor}"
        if name not in self.left:
            return
        dtype, whole = self.dtype(name), self.take(name)
        dim = 1 if parts[0] in ("down_proj", "w2") else 0
        count = len(whole) // self.ep
        if len(whole) % self.ep:
            raise family_reference.Impossible
        experts = []
        for matrix in whole[self.ep_rank * count:(self.ep_rank + 1) * count]:
            tail = matrix.shape[2:]  # blocks
            matrix = matrix.T if transposed else matrix
            pieces = ([matrix[i::len(parts)] for i in range(len(parts))] if interleaved
                      else numpy.split(matrix, len(parts)))
            unit = self.units.get((leaf, dim))
            if unit and len(tail):
                unit = unit if dim == 0 else 1  # a column is a block
            pieces = [family_reference.shard(p, self.moe_tp, self.moe_rank, dim, unit)
                      for p in pieces]
            made = (numpy.stack(pieces, 1).reshape(-1, *pieces[0].shape[1:]) if interleaved
                    else numpy.concatenate(pieces))
            assert made.shape[2:] == tail
            experts.append(made.T if transposed else made)
        self.put(name, dtype, numpy.stack(experts))

    def experts(self, module, names=("gate_proj", "down_proj", "up_proj"), packed=None):
        gate, down, up = names
        for suffix in ("", "_scale_inv"):
            self.unfuse(module, "gate_up_proj" + suffix, (gate, up), "weight" + suffix)
            self.unfuse(module, "down_proj" + suffix, (down,), "weight" + suffix)
        numbers = sorted({int(n[len(module) + 1:].split(".")[0]) for n in self.left
                          if n.startswith(module + ".")})
        if len(numbers) % self.ep:
            raise family_reference.Impossible
        share = len(numbers) // self.ep
        for e in numbers:
            mine = e // share == self.ep_rank
            for part in ((packed, down) if packed else names):
                for leaf, name in self.leaves(f"{module}.{e}.{part}").items():
                    array = self.take(name)
                    if mine and (leaf in family_reference.SCALARS or array.ndim == 0):
                        self.put(name, self.dtype(name), array)
                    elif mine:
                        halves = numpy.split(array, 2) if part == packed else [array]
                        self.put(name, self.dtype(name), numpy.concatenate(
                            [family_reference.shard(h, self.moe_tp, self.moe_rank,
                                                    1 if part == down else 0) for h in halves]))
                    elif leaf == "input_scale":
                        self.put(name, self.dtype(name), array)
