#!/usr/bin/env python3
"""Tiny models of the newer families as transformers saves them, and what PyTorch computes with them in float64.

    python3 test/gen/family_models.py [test/data/models]       (needs torch, transformers, safetensors)

As models.py, whose functions it uses, but smaller: logits, loss, logp and every gradient. Each has another of the
options: dynamic rope beyond its length, yarn, linear rope, biases, layers without rope, fused matrices.
"""
import importlib
import math
import os
import shutil
import sys

import torch
import models
from transformers import AutoModelForCausalLM

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, ".."))
import families

models.V = 48
SIZE = dict(vocab_size=48, hidden_size=16, intermediate_size=24, num_hidden_layers=2, num_attention_heads=4,
            num_key_value_heads=2, max_position_embeddings=32, bos_token_id=0, eos_token_id=0)
KINDS = {
    "mistral": dict(max_position_embeddings=10, **families.rope("dynamic", factor=2.5)),
    "qwen3": dict(head_dim=6, tie_word_embeddings=True, **families.rope(
        "yarn", factor=4.0, original_max_position_embeddings=8, beta_fast=2.0, beta_slow=0.5)),
    "smollm3": dict(no_rope_layer_interval=2, mlp_bias=True, tie_word_embeddings=True),
    "olmo2": dict(attention_bias=True, **families.rope("linear", factor=3.0)),
    "phi3": {},
}


def frequencies(config, length):
    """Of rope in float64, from the definitions, and the factor on cos and sin."""
    rope, D = config.rope_parameters, getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    theta, factor, kind = rope["rope_theta"], rope.get("factor", 1), rope["rope_type"]
    old, grow = config.max_position_embeddings, 1.0
    if kind == "dynamic" and length > old:
        theta *= (factor * length / old - (factor - 1)) ** (D / (D - 2))
    f = theta ** (-torch.arange(0, D, 2, dtype=torch.float64) / D)
    if kind == "linear":
        f = f / factor
    if kind == "yarn":
        old = rope["original_max_position_embeddings"]
        place = lambda turns: D * math.log(old / (turns * 2 * math.pi)) / (2 * math.log(theta))
        low, high = max(math.floor(place(rope["beta_fast"])), 0), min(math.ceil(place(rope["beta_slow"])), D - 1)
        assert low < high
        slow = ((torch.arange(D // 2, dtype=torch.float64) - low) / (high - low)).clamp(0, 1)
        f = f * (slow / factor + 1 - slow)
        grow = 0.1 * math.log(factor) + 1
    return f, grow


def make_double(family):
    """As models.py's: transformers computes norms and angles in float32; here they are float64."""
    module = importlib.import_module(f"transformers.models.{family}.modeling_{family}")

    def rmsnorm(self, x):
        return self.weight * x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.variance_epsilon)

    def rope(self, x, position_ids):
        f, grow = frequencies(self.config, int(position_ids.max()) + 1)
        angle = position_ids[..., None].double() * f
        angle = torch.cat((angle, angle), dim=-1)
        return (grow * angle.cos()).to(x.dtype), (grow * angle.sin()).to(x.dtype)

    for name in dir(module):
        if name.endswith("RMSNorm"):
            getattr(module, name).forward = rmsnorm
        if name.endswith("RotaryEmbedding"):
            getattr(module, name).forward = rope


def main():
    root = sys.argv[1] if len(sys.argv) > 1 else os.path.join(HERE, "../data/models")
    torch.set_num_threads(1)
    for seed, (family, more) in enumerate(KINDS.items()):
        path = os.path.join(root, family)
        shutil.rmtree(path, ignore_errors=True)
        model = AutoModelForCausalLM.from_config(families.config(family, **{**SIZE, **more}))
        models.randomise(model, 41 + seed)
        model.save_pretrained(path)
        ids, targets = models.batch(16, 51 + seed)
        plain = models.compute(AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32), ids, targets, steps=1)
        make_double(family)
        model = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float64)
        out = models.compute(model, ids, targets, steps=1)
        keep = {k: v for k, v in out.items() if not k.startswith(("after.", "adamw."))}
        worst = max(models.relative(plain[k], v) for k, v in keep.items() if k.startswith("grad."))
        gap = models.relative(plain["logits"], keep["logits"])
        print(f"{family}: loss {keep['loss'].item():.9f}; float32 is off by: logits {gap:.1e}, gradients {worst:.1e}")
        assert gap < 2e-5 and worst < 2e-4
        models.store(path, keep, ids, targets)
        os.remove(os.path.join(path, "expected.f32"))


if __name__ == "__main__":
    main()
