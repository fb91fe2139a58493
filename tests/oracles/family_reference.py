# SPDX-License-Identifier: Apache-2.0
"""What an engine's rank has of a checkpoint, in NumPy, from the reference's own rules.

The one idea: this walks a model as TensorRT-LLM's module loaders do (modules/linear.py,
fused_moe/quantization.py, modeling_deepseekv3.py and others), module by module, and makes each
parameter with reshape, repeat, slice and concatenate on arrays of elements. It knows no rules file,
no plan and no offsets; a wload that disagrees with it has one of the two wrong.

Every source is sliced first, then joined. Arrays are of the unsigned integer as wide as the
element, with the data type's name beside them."""

import functools
import math
import re

import merged_scales
import numpy
import plan_oracle

WIDTHS = {"BF16": "<u2", "F16": "<u2", "F32": "<u4", "F8_E4M3": "u1", "U8": "u1"}
SCALARS = ("weight_scale_2", "input_scale")


class Impossible(Exception):
    """What the reference asserts against."""


def read(folder):
    """{name: (data type, array)} of a checkpoint."""
    found = {}
    for name, t in plan_oracle.read_checkpoint(folder).items():
        found[name] = (t.dtype, numpy.frombuffer(t.bytes(), WIDTHS[t.dtype]).reshape(t.shape))
    return found


def shard(array, tp, rank, dim, unit=None):
    """load_weight_shard(): share `rank` of tp, rounded up, of a dimension; of whole units, if any."""
    if tp == 1 or array.ndim == 0 or (array.ndim == 1 and dim == 1):
        return array
    width = array.shape[dim]
    if width == 1 and not unit:
        return array
    unit = unit or 1
    share = -(-(-(-width // unit)) // tp) * unit
    begin, end = min(rank * share, width), min((rank + 1) * share, width)
    return array[begin:end] if dim == 0 else array[:, begin:end]


class Model:
    """One rank of tp, ep of which share the experts, of a checkpoint."""

    def __init__(self, tensors, config, layout, tp=1, rank=0, ep=1):
        self.left = dict(tensors)  # what no module has loaded yet
        self.tensors, self.layout = dict(tensors), layout
        self.config = config.get("text_config", config)
        self.stored = self.tensors  # as the checkpoint has them, where tensors are converted
        self.tp, self.rank, self.ep = tp, rank, ep
        # Mapping: moe_tp_size = tp // ep, moe_ep_rank = rank % ep, moe_tp_rank = rank // ep
        self.moe_tp, self.moe_rank, self.ep_rank = tp // ep, rank // ep, rank % ep
        self.units = {}  # (part's leaf, dimension): elements of an expert's that stay together
        self.parameters = {}

    # ---- pieces ------------------------------------------------------------------------------

    def leaves(self, module):
        """{leaf: name} of a module's tensors."""
        return {n[len(module) + 1:]: n for n in self.tensors
                if n.startswith(module + ".") and "." not in n[len(module) + 1:]}

    def take(self, name):
        self.left.pop(name)
        return self.tensors[name][1]

    def dtype(self, name):
        return self.tensors[name][0]

    def put(self, name, dtype, array):
        assert name not in self.parameters, name
        self.parameters[name] = (dtype, array.copy())

    def column(self, array):
        return shard(array, self.tp, self.rank, 0)

    def row(self, array):
        return shard(array, self.tp, self.rank, 1)

    @staticmethod
    def whole(array):
        return array

    def heads(self, array):
        if self.config["num_attention_heads"] % self.tp:
            raise Impossible
        return self.column(array)

    def kv_heads(self, array):
        """_duplicate_kv(): each head as often as there are ranks for it, by heads."""
        kv = self.config["num_key_value_heads"]
        if self.tp <= kv:
            if kv % self.tp:
                raise Impossible
            return self.column(array)
        if self.tp % kv:
            raise Impossible
        heads = array.reshape(kv, array.shape[0] // kv, *array.shape[1:])
        return self.column(heads.repeat(self.tp // kv, axis=0).reshape(-1, *array.shape[1:]))

    # ---- modules -----------------------------------------------------------------------------

    def linear(self, module, way):
        """A module that stays what it is."""
        for leaf, name in self.leaves(module).items():
            array = self.take(name)
            self.put(name, self.dtype(name), way(array) if array.ndim else array)

    def fused(self, into, sources, requantise=False):
        """[(module, way)] one behind the other; scalars as merged_scales says, or else they stay with
        their sources."""
        leaves = self.leaves(sources[0][0])
        dtypes = {leaf: self.dtype(name) for leaf, name in leaves.items()}
        parts = [{leaf: array if array.ndim == 0 else way(array)
                  for leaf in leaves for array in [self.take(f"{module}.{leaf}")]}
                 for module, way in sources]
        merged = merged_scales.fused(parts, dtypes, requantise)
        for leaf, first in leaves.items():
            if leaf in merged:
                self.put(f"{into}.{leaf}", dtypes[leaf], merged[leaf])
            elif leaf in SCALARS:
                for (module, _), part in zip(sources, parts):
                    self.put(f"{module}.{leaf}", dtypes[leaf], part[leaf])
            else:
                self.put(f"{into}.{leaf}", self.dtype(first),
                         numpy.concatenate([p[leaf] for p in parts]))

    def gate_up(self, module):
        self.fused(module + ".gate_up_proj",
                   [(module + ".gate_proj", self.column), (module + ".up_proj", self.column)])
        self.linear(module + ".down_proj", self.row)

    def deepseek_gate_up(self, module):
        """_compute_shared_expert_tp_size(), _compute_mlp_tp_size(): a smaller world of ranks."""
        if self.layout == "vllm":
            self.gate_up(module)
            return
        name = module + ".up_proj.weight"
        block = (128 if name + "_scale_inv" in self.stored else
                 16 if name + "_scale" in self.stored else 1)
        size = self.tensors[name][1].shape[0]
        if size % block:
            raise Impossible
        tp = math.gcd(size // block, self.tp)
        column, row = (functools.partial(shard, tp=tp, rank=self.rank % tp, dim=d) for d in (0, 1))
        self.fused(module + ".gate_up_proj",
                   [(module + ".gate_proj", column), (module + ".up_proj", column)])
        self.linear(module + ".down_proj", row)

    def attention(self, module):
        """Grouped queries, q, k and v each in its matrix."""
        self.fused(module + ".qkv_proj", [(module + ".q_proj", self.heads),
                                          (module + ".k_proj", self.kv_heads),
                                          (module + ".v_proj", self.kv_heads)])
        self.linear(module + ".o_proj", self.row)

    def packed_attention(self, module, by_groups):
        """The same from one matrix: q, k and v of each key-value head, or of all of them."""
        heads, kv = self.config["num_attention_heads"], self.config["num_key_value_heads"]
        for leaf, name in self.leaves(module + ".qkv_proj").items():
            array = self.take(name)
            rest = array.shape[1:]
            dim = array.shape[0] // (heads + 2 * kv)
            if by_groups:
                view = array.reshape(kv, heads // kv + 2, dim, *rest)
                q, k, v = view[:, :-2], view[:, -2], view[:, -1]
            else:
                q, k, v = numpy.split(array, [heads * dim, (heads + kv) * dim])
            parts = (self.heads(q.reshape(-1, *rest)), self.kv_heads(k.reshape(-1, *rest)),
                     self.kv_heads(v.reshape(-1, *rest)))
            self.put(f"{module}.qkv_proj.{leaf}", self.dtype(name), numpy.concatenate(parts))
        self.linear(module + ".o_proj", self.row)

    def packed_gate_up(self, module, packed, up_first=False):
        for leaf, name in self.leaves(f"{module}.{packed}").items():
            first, second = numpy.split(self.take(name), 2)
            gate, up = (second, first) if up_first else (first, second)
            self.put(f"{module}.gate_up_proj.{leaf}", self.dtype(name),
                     numpy.concatenate([self.column(gate), self.column(up)]))
        self.linear(module + ".down_proj", self.row)

    def latent_attention(self, module):
        """DeepSeek's: modeling_deepseekv3.py, load_kv_b_proj_and_k_b_proj_trans, fused_a."""
        c = self.config
        nope, v, count = c["qk_nope_head_dim"], c["v_head_dim"], c["num_attention_heads"]
        into = "kv_a_proj_with_mqa" if self.layout == "trtllm" else "fused_qkv_a_proj"
        self.fused(f"{module}.{into}", [(module + ".q_a_proj", self.whole),
                                        (module + ".kv_a_proj_with_mqa", self.whole)], True)
        self.linear(module + ".q_b_proj", self.heads)
        self.linear(module + ".o_proj", self.row)
        self.linear(module + ".q_proj", self.heads)  # lite: in place of q_a and q_b
        if self.layout == "vllm":
            self.linear(module + ".kv_b_proj", self.heads)
            return
        for leaf, name in self.leaves(module + ".kv_b_proj").items():
            array, rest = self.take(name), self.tensors[name][1].shape[1:]
            block = 128 if leaf == "weight_scale_inv" else 1
            view = array.reshape(count, (nope + v) // block, *rest)
            if count % self.tp:
                raise Impossible
            view = self.column(view)
            k, values = view[:, :nope // block], view[:, nope // block:]
            self.put(name, self.dtype(name), numpy.concatenate(
                [k.reshape(-1, *rest), values.reshape(-1, *rest)]))
            suffix = leaf.removeprefix("weight")
            self.put(f"{module}.k_b_proj_trans{suffix}", self.dtype(name), k.swapaxes(1, 2))
            self.put(f"{module}.v_b_proj{suffix}", self.dtype(name), values)

    def unfuse(self, module, tensor, parts, leaf, interleaved=False, transposed=False):
        """A tensor of all experts, as those of each: transposed back, and chunk() or every other
        row, which the loaders of these checkpoints do before they load anything."""
        if f"{module}.{tensor}" not in self.left:
            return
        dtype = self.dtype(f"{module}.{tensor}")
        for e, matrix in enumerate(self.take(f"{module}.{tensor}")):
            if matrix.ndim > 2:
                matrix = matrix.reshape(matrix.shape[0], -1)
            matrix = matrix.T if transposed else matrix
            pieces = ([matrix[i::len(parts)] for i in range(len(parts))] if interleaved
                      else numpy.split(matrix, len(parts)))
            for part, piece in zip(parts, pieces):
                name = f"{module}.{e}.{part}.{leaf}"
                self.tensors[name] = self.left[name] = dtype, piece

    def experts(self, module, names=("gate_proj", "down_proj", "up_proj"), packed=None):
        """Stacks; the scalars of an activation are those of all experts on every rank."""
        gate, down, up = names
        for suffix in ("", "_scale_inv"):
            self.unfuse(module, "gate_up_proj" + suffix, (gate, up), "weight" + suffix)
            self.unfuse(module, "down_proj" + suffix, (down,), "weight" + suffix)
        numbers = sorted({int(m[1]) for m in (re.match(re.escape(module) + r"\.(\d+)\.", n)
                                              for n in self.tensors) if m})
        if len(numbers) % self.ep:
            raise Impossible
        share = len(numbers) // self.ep
        mine = numbers[self.ep_rank * share:(self.ep_rank + 1) * share]
        pair = ("w3_w1", (up, gate)) if self.layout == "trtllm" else ("w13", (gate, up))
        for into, sources, dim in ((*pair, 0), ("w2", (down,), 1)):
            from_packed = packed and dim == 0
            first = f"{module}.0.{packed if from_packed else sources[0]}"
            leaves = self.leaves(first)
            dtypes = {leaf: self.dtype(example) for leaf, example in leaves.items()}
            every = [[{} for _ in sources] for _ in numbers]
            for leaf in leaves:
                for e, parts in zip(numbers, every):
                    taken = (self.packed_parts(f"{module}.{e}.{packed}.{leaf}", sources, up)
                             if from_packed
                             else [self.take(f"{module}.{e}.{s}.{leaf}") for s in sources])
                    for part, array in zip(parts, taken):
                        part[leaf] = shard(array, self.moe_tp, self.moe_rank, dim,
                                           self.units.get((leaf, dim)))
            own = [i for i, e in enumerate(numbers) if e in mine]
            merged = merged_scales.stacked(every, dtypes, own)
            for leaf in leaves:
                if leaf in merged:
                    self.put(f"{module}.{into}_{leaf}", dtypes[leaf], merged[leaf])
                    continue
                have = every if leaf == "input_scale" else [every[i] for i in own]
                stack = [[p[leaf] for p in parts] for parts in have]
                if leaf in SCALARS:
                    stack = [numpy.array(p) if len(p) > 1 else p[0] for p in stack]
                else:
                    stack = [numpy.concatenate(p) for p in stack]
                self.put(f"{module}.{into}_{leaf}", dtypes[leaf], numpy.stack(stack))

    def packed_parts(self, name, sources, up):
        """Hunyuan's gate_and_up_proj: up is the first half."""
        halves = numpy.split(self.take(name), 2)
        return [halves[0 if s == up else 1] for s in sources]

    # ---- families ----------------------------------------------------------------------------

    def moe_mlp(self, module, shared=None):
        """Experts where there are some, else a dense layer."""
        if f"{module}.gate_proj.weight" in self.tensors:
            self.gate_up(module)
            return
        self.experts(module + ".experts")
        if shared:
            self.gate_up(f"{module}.{shared}")

    def dense_layer(self, name):
        self.attention(name + ".self_attn")
        self.gate_up(name + ".mlp")

    def qwen3_moe_layer(self, name):
        self.attention(name + ".self_attn")
        self.moe_mlp(name + ".mlp")

    def mixtral_layer(self, name):
        self.attention(name + ".self_attn")
        module = "mlp" if f"{name}.mlp.gate.weight" in self.tensors else "block_sparse_moe"
        self.experts(f"{name}.{module}.experts", ("w1", "w2", "w3"))

    def glm4_moe_layer(self, name):
        self.attention(name + ".self_attn")
        self.moe_mlp(name + ".mlp", "shared_experts")
        self.next_token(name)

    def deepseek_v3_layer(self, name):
        self.latent_attention(name + ".self_attn")
        if f"{name}.mlp.gate_proj.weight" in self.tensors:
            self.deepseek_gate_up(name + ".mlp")
        else:
            self.experts(name + ".mlp.experts")
            self.deepseek_gate_up(name + ".mlp.shared_experts")
        self.next_token(name)

    def next_token(self, name):
        """A prediction layer's: eh_proj is row-parallel in TensorRT-LLM, replicated in vLLM."""
        if f"{name}.eh_proj.weight" in self.tensors:
            self.linear(name + ".eh_proj", self.row if self.layout == "trtllm" else self.whole)
            self.linear(name + ".embed_tokens", self.embedding)
            self.linear(name + ".shared_head.head", self.column)

    deepseek_v2_layer = deepseek_v3_layer

    def hunyuan_v1_moe_layer(self, name):
        if f"{name}.self_attn.qkv_proj.weight" in self.tensors:
            self.packed_attention(name + ".self_attn", True)
            self.experts(name + ".mlp.experts", packed="gate_and_up_proj")
            self.packed_gate_up(name + ".mlp.shared_mlp", "gate_and_up_proj", True)
            return
        self.attention(name + ".self_attn")
        self.moe_mlp(name + ".mlp", "shared_mlp")

    def hunyuan_v1_dense_layer(self, name):
        if f"{name}.self_attn.qkv_proj.weight" in self.tensors:
            self.packed_attention(name + ".self_attn", True)
            self.packed_gate_up(name + ".mlp", "gate_and_up_proj", True)
            return
        self.dense_layer(name)

    def phi3_layer(self, name):
        self.packed_attention(name + ".self_attn", False)
        self.packed_gate_up(name + ".mlp", "gate_up_proj")

    def llama4_text_layer(self, name):
        self.attention(name + ".self_attn")
        name += ".feed_forward"
        if f"{name}.gate_proj.weight" in self.tensors:
            self.gate_up(name)
            return
        self.unfuse(name + ".experts", "gate_up_proj", ("gate_proj", "up_proj"), "weight",
                    transposed=True)
        self.unfuse(name + ".experts", "down_proj", ("down_proj",), "weight", transposed=True)
        for scale, column in (("weight_scale", False), ("scale", True)):
            self.unfuse(name + ".experts", "gate_up_proj_" + scale, ("gate_proj", "up_proj"),
                        "weight_scale", transposed=True)
            self.unfuse(name + ".experts", "down_proj_" + scale, ("down_proj",), "weight_scale",
                        transposed=not column)
        self.experts(name + ".experts")
        self.gate_up(name + ".shared_expert")

    def gpt_oss_layer(self, name):
        """Shares are of whole blocks of 32 values, all that is along them alike; the reference pads
        each to 128 instead."""
        self.attention(name + ".self_attn")
        sinks = name + ".self_attn.sinks"
        self.put(sinks, self.dtype(sinks), self.heads(self.take(sinks)))
        name += ".mlp.experts"
        if f"{name}.down_proj_blocks" in self.stored:
            halves = f"{name}.down_proj_blocks" in self.tensors  # two values a byte
            self.units = {("weight", 0): 32, ("weight_scale", 0): 32, ("bias", 0): 32,
                          ("weight", 1): 16 if halves else 32, ("weight_scale", 1): 1}
        for tensor, leaf in (("_blocks", "weight"), ("_scales", "weight_scale"), ("_bias", "bias"),
                             ("", "weight")):
            self.unfuse(name, "gate_up_proj" + tensor, ("gate_proj", "up_proj"), leaf, True,
                        transposed=not tensor)
            self.unfuse(name, "down_proj" + tensor, ("down_proj",), leaf, transposed=not tensor)
        self.experts(name)

    def embedding(self, array):
        """Over the vocabulary, except in TensorRT-LLM's GLM."""
        if self.layout == "trtllm" and self.config["model_type"] == "glm4_moe":
            return array
        return self.column(array)

    def load(self):
        """{parameter: (data type, array)}; raises Impossible."""
        layer = getattr(self, self.config["model_type"] + "_layer", self.dense_layer)
        top = "language_model." if any(n.startswith("language_model.") for n in self.tensors) else ""
        names = sorted({m[0] for m in (re.match(re.escape(top) + r"model\.layers\.\d+", n)
                                       for n in self.tensors) if m})
        for name in names:
            layer(name)
        self.linear(top + "model.embed_tokens", self.embedding)
        if not self.config.get("tie_word_embeddings"):
            self.linear(top + "lm_head", self.column)
        self.left.pop(top + "lm_head.weight", None)
        for name in list(self.left):  # norms, routers: every rank has them
            self.put(name, self.dtype(name), self.take(name))
        return self.parameters


def difference(want, got):
    """What is wrong with what was loaded, or None."""
    for name in sorted(want.keys() | got.keys()):
        if name not in got or name not in want:
            return f"'{name}' {'is missing' if name in want else 'should not be there'}"
        (dtype, array), (got_dtype, got_array) = want[name], got[name]
        if dtype != got_dtype or array.shape != got_array.shape:
            return f"'{name}' is {got_dtype} {got_array.shape}, should be {dtype} {array.shape}"
        if array.tobytes() != got_array.tobytes():
            at = numpy.flatnonzero(array.reshape(-1) != got_array.reshape(-1))[0]
            return f"'{name}' differs at element {at}"
    return None
