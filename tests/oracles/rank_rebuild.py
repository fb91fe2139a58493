# SPDX-License-Identifier: Apache-2.0
"""The model that all ranks have together, put back as it was, in NumPy.

The one idea: what a rank's engine would compute with says by its own layout which part of which matrix
it is. So this goes the way of a load backwards, in three moves, each of which knows config.json and
the engine's conventions (TensorRT-LLM's or vLLM's), and nothing of ours:

  unfuse   one rank's parameters -> shares of the matrices that a checkpoint has
  join     the shares of all ranks -> whole matrices; shares that are copies must be the same
  pack     matrices that a checkpoint has in one -> that one

Whatever is lost, doubled, out of order or of the wrong rank makes another model. Nothing is taken from
the original but the names of its tensors, which tell what it has in one."""

import math
import re

import numpy

COLUMN = {"q_proj", "q_b_proj", "kv_b_proj", "gate_proj", "up_proj", "w1", "w3", "embed_tokens",
          "lm_head", "head"}
ROW = {"o_proj", "down_proj", "w2"}
KV = {"k_proj", "v_proj"}
NAMES = {"mixtral": ("w1", "w2", "w3")}  # of an expert's gate, down and up
TURNED = ("llama4_text", "gpt_oss")  # experts are [inputs, outputs]
STACK = re.compile(r"(.*\.experts)\.(w3_w1|w13|w2)_(weight|bias)")


class Contradiction(Exception):
    """Ranks that should have the same have not, or have what no one asked for."""


def same(shares, what):
    """What all of them have."""
    for share in shares[1:]:
        if share.shape != shares[0].shape or share.tobytes() != shares[0].tobytes():
            raise Contradiction(f"'{what}' is not the same on all ranks")
    return shares[0]


class Rebuild:
    """ranks: [{parameter: (data type, array)}] in their order, `ep` of which share the experts out;
    plain: shares have the names of the matrices that they are of, and nothing is fused."""

    def __init__(self, ranks, config, layout, names, ep=1, plain=False):
        self.ranks, self.layout, self.names, self.ep = ranks, layout, set(names), ep
        self.plain = plain
        self.config = {**config, **config.get("text_config", {})}
        self.kind = self.config["model_type"]
        self.heads = self.config["num_attention_heads"]
        self.kv_heads = self.config.get("num_key_value_heads") or self.heads
        self.shares = {}  # {name of a matrix: [(rank, array)]}
        self.types = {}

    def load(self):
        """{name: (data type, array)} as the checkpoint had it; raises Contradiction."""
        for rank, parameters in enumerate(self.ranks):
            for name, (dtype, array) in parameters.items():
                self.unfuse(rank, name, dtype, array)
        self.check_absorbed()
        whole = {name: self.join(name, shares) for name, shares in self.shares.items()}
        return self.pack(whole)

    # ---- unfuse: one rank's parameters -------------------------------------------------------

    def put(self, rank, name, dtype, array):
        if any(r == rank for r, _ in self.shares.setdefault(name, [])):
            raise Contradiction(f"'{name}' is twice in rank {rank}")
        self.shares[name].append((rank, array))
        if self.types.setdefault(name, dtype) != dtype:
            raise Contradiction(f"'{name}' has two data types")

    def unfuse(self, rank, name, dtype, array):
        module, _, leaf = name.rpartition(".")
        above, _, last = module.rpartition(".")
        stack = STACK.fullmatch(name)
        if stack and not self.plain:
            self.unstack(rank, *stack.groups(), dtype, array)
            return
        if module.endswith(".experts"):
            if not self.plain:
                raise Contradiction(f"'{name}' is not stacked")
            self.unpack_experts(rank, module, leaf, dtype, array)
            return
        if self.plain and last in ("kv_b_proj", "kv_a_proj_with_mqa"):
            self.put(rank, name, dtype, array)
            return
        cut = {"qkv_proj": self.qkv, "gate_up_proj": self.gate_up, "kv_b_proj": self.kv_b,
               "kv_a_proj_with_mqa": self.latent, "fused_qkv_a_proj": self.latent}.get(last)
        for part, share in cut(array) if cut else ((last, array),):
            self.put(rank, ".".join(filter(None, (above, part, leaf))), dtype, share)

    def qkv(self, array):
        q = self.heads // len(self.ranks)
        kv = max(self.kv_heads // len(self.ranks), 1)
        dim = array.shape[0] // (q + 2 * kv)
        return zip(("q_proj", "k_proj", "v_proj"), numpy.split(array, [q * dim, (q + kv) * dim]))

    @staticmethod
    def gate_up(array):
        return zip(("gate_proj", "up_proj"), numpy.split(array, 2))

    def latent(self, array):
        if not self.config["q_lora_rank"]:  # then q is no product of two
            return (("kv_a_proj_with_mqa", array),)
        return zip(("q_a_proj", "kv_a_proj_with_mqa"),
                   numpy.split(array, [self.config["q_lora_rank"]]))

    def kv_b(self, array):
        """All heads' keys, then all heads' values; the checkpoint has them head by head."""
        if self.layout == "trtllm":
            nope, v = self.config["qk_nope_head_dim"], self.config["v_head_dim"]
            count, lora = self.heads // len(self.ranks), array.shape[1]
            k, values = numpy.split(array, [count * nope])
            array = numpy.concatenate([k.reshape(count, nope, lora),
                                       values.reshape(count, v, lora)], 1).reshape(-1, lora)
        return (("kv_b_proj", array),)

    def unstack(self, rank, module, which, leaf, dtype, array):
        """Experts one by one; a stack's halves are up, gate in one layout, gate, up in the other."""
        gate, down, up = NAMES.get(self.kind, ("gate_proj", "down_proj", "up_proj"))
        if (which == "w3_w1") != (self.layout == "trtllm") and which != "w2":
            raise Contradiction(f"'{which}' in the other layout")
        parts = {"w3_w1": (up, gate), "w13": (gate, up), "w2": (down,)}[which]
        first = rank % self.ep * array.shape[0]
        for e, expert in enumerate(array):
            for part, share in zip(parts, numpy.split(expert, len(parts))):
                self.put(rank, f"{module}.{first + e}.{part}.{leaf}", dtype, share)

    def unpack_experts(self, rank, module, leaf, dtype, array):
        """Experts one by one out of a share of pack_experts()'s tensors."""
        leaf, bias = leaf.removesuffix("_bias"), leaf.endswith("_bias")
        if self.kind in TURNED and not bias:
            array = array.swapaxes(1, 2)
        halves = ("gate_proj", "up_proj") if leaf == "gate_up_proj" else (leaf,)
        first = rank % self.ep * array.shape[0]
        for e, expert in enumerate(array):
            if self.kind == "gpt_oss":
                parts = [expert[i::len(halves)] for i in range(len(halves))]
            else:
                parts = numpy.split(expert, len(halves))
            for half, part in zip(halves, parts):
                self.put(rank, f"{module}.{first + e}.{half}.{'bias' if bias else 'weight'}",
                         dtype, part)

    def check_absorbed(self):
        """k_b_proj_trans and v_b_proj have once more what kv_b_proj has."""
        for name in [n for n in self.shares if re.search(r"self_attn\.(k_b_proj_trans|v_b_proj)$", n)]:
            nope = self.config["qk_nope_head_dim"]
            all_b = dict(self.shares[name.rpartition(".")[0] + ".kv_b_proj.weight"])
            for rank, array in self.shares.pop(name):
                both = all_b[rank].reshape(array.shape[0], -1, all_b[rank].shape[1])
                want = both[:, nope:] if name.endswith(".v_b_proj") else both[:, :nope].swapaxes(1, 2)
                same([want, array], name)

    # ---- join: all ranks' shares ---------------------------------------------------------------

    def join(self, name, shares):
        parts = [array for _, array in sorted(shares, key=lambda s: s[0])]
        has = len(self.ranks) // self.ep if re.search(r"\.experts\.\d+\.", name) else len(self.ranks)
        if len(parts) != has:
            raise Contradiction(f"'{name}' is in {len(parts)} ranks, not {has}")
        module = name.split(".")[-2] if "." in name else name
        if self.is_whole(name, module, parts[0]):
            return same(parts, name)
        if module in KV and len(parts) > self.kv_heads:
            each = len(parts) // self.kv_heads
            parts = [same(parts[i:i + each], name) for i in range(0, len(parts), each)]
        parts = self.without_copies(name, module, parts)
        return numpy.concatenate(parts, 1 if module in ROW else 0)

    def is_whole(self, name, module, array):
        """Whether every rank has all of it; of what sees images it has."""
        if not name.startswith(("model.", "lm_head.", "language_model.")):
            return True
        if name.endswith(".sinks"):
            return False
        if module == "embed_tokens" and self.kind == "glm4_moe":
            return self.layout == "trtllm"
        if module in ROW:
            return array.ndim == 1
        return module not in COLUMN | KV

    def without_copies(self, name, module, parts):
        """TensorRT-LLM's DeepSeek shares MLPs that are no routed experts out among as many ranks as
        divide them: _compute_shared_expert_tp_size(), _compute_mlp_tp_size()."""
        if (not self.kind.startswith("deepseek") or self.layout != "trtllm"
                or ".mlp." not in name or ".experts." in name):
            return parts
        c = self.config
        size = (c["moe_intermediate_size"] * c["n_shared_experts"] if ".shared_experts." in name
                else c["intermediate_size"])
        tp = math.gcd(size, len(parts))
        return [same(parts[i::tp], name) for i in range(tp)]

    # ---- pack: what the checkpoint has in one ----------------------------------------------------

    def pack(self, whole):
        for name in self.names - whole.keys():
            module, _, leaf = name.rpartition(".")
            above, _, last = module.rpartition(".")
            members = {"qkv_proj": ("q_proj", "k_proj", "v_proj"),
                       "gate_up_proj": ("gate_proj", "up_proj")}.get(last)
            parts = [f"{above}.{m}.{leaf}" for m in members or ()]
            if parts and all(p in whole for p in parts):
                self.types[name] = self.types[parts[0]]
                whole[name] = numpy.concatenate([whole.pop(p) for p in parts])
            elif module.endswith(".experts"):
                self.pack_experts(name, module, leaf, whole)
        return {name: (self.types[name], array) for name, array in whole.items()}

    def pack_experts(self, name, module, leaf, whole):
        """Stacks as transformers holds them; Llama-4's and gpt-oss's are transposed, and gpt-oss's
        gate and up take turns."""
        leaf, bias = leaf.removesuffix("_bias"), leaf.endswith("_bias")
        members = {"gate_up_proj": ("gate_proj", "up_proj"), "down_proj": ("down_proj",)}[leaf]
        stacks = []
        for member in members:
            pattern = re.compile(rf"{re.escape(module)}\.(\d+)\.{member}\.{'bias' if bias else 'weight'}")
            found = sorted((int(m[1]), m[0]) for m in map(pattern.fullmatch, whole) if m)
            self.types[name] = self.types[found[0][1]]
            stacks.append(numpy.stack([whole.pop(n) for _, n in found]))
        if self.kind == "gpt_oss" and len(stacks) > 1:
            both = numpy.stack(stacks, 2)
            both = both.reshape(both.shape[0], -1, *both.shape[3:])
        else:
            both = numpy.concatenate(stacks, 1)
        whole[name] = both.swapaxes(1, 2) if self.kind in TURNED and not bias else both
