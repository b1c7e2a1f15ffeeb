#!/usr/bin/env python3
"""Tiny models as transformers saves them, and what PyTorch computes with them in float64.

    python3 test/gen/models.py [test/data/models]       (needs torch, transformers, tokenizers, safetensors)

Writes one folder per model (config.json, model.safetensors ..., saved by save_pretrained) with

    expected.safetensors        names, all float32 except where said:
        input_ids, targets      I64 [B,T]; the targets are the inputs moved by one place
        logits                  [B,T,V]
        loss                    F64 [1]      mean of -log p(target) over all B*T places
        logp                    [B,T]        log p(target)
        grad.<parameter>        gradient of the loss, for every parameter, in the parameter's own shape
        adamw.losses            F64 [10]     loss before each of 10 AdamW steps on this one batch
        adamw.grad_norms        F64 [10]     global norm of the gradient, before clipping
        after.<parameter>       layer 0, final norm (and wpe) after the 10 steps
    expected.f32                logits once more, raw: so that a bug of the safetensors reader cannot hide itself

Adam: lr 1e-3, betas .9 .95, eps 1e-8, decay .1 on matrices (embeddings too), none on vectors, clip 1.0.
Weights are drawn wide (deviation .15, norms 1 +- .2, biases .1) so that every gradient is far from zero. The exception
is GPT-2's key bias: softmax does not see it, its true gradient is 0, Adam turns the noise into steps of any sign, so
after.transformer.h.0.attn.c_attn.bias is meaningless in its middle third [C,2C).
The script also runs the untouched float32 model and prints how far it is from float64: what a test may ask for.
"""
import json
import os
import shutil
import sys

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM
from transformers.models.llama import modeling_llama

V, C, L, H, B, STEPS = 320, 32, 2, 4, 2, 10
DECAY, CLIP, LR = 0.1, 1.0, 1e-3


def make_double():
    """transformers computes RMS norm and rotary angles in float32 whatever the model's type; here they are float64."""
    def rmsnorm(self, x):
        return self.weight * x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.variance_epsilon)

    def rope(self, x, position_ids):
        angle = position_ids[..., None].double() * double_frequencies(self.config)
        angle = torch.cat((angle, angle), dim=-1)
        return angle.cos().to(x.dtype), angle.sin().to(x.dtype)

    modeling_llama.LlamaRMSNorm.forward = rmsnorm
    modeling_llama.LlamaRotaryEmbedding.forward = rope


def double_frequencies(config):
    """Rotary frequencies, with Llama 3's scaling, from its definition."""
    rope, D = config.rope_parameters, config.head_dim
    f = rope["rope_theta"] ** (-torch.arange(0, D, 2, dtype=torch.float64) / D)
    if rope["rope_type"] == "default":
        return f
    assert rope["rope_type"] == "llama3"
    old, low, high = rope["original_max_position_embeddings"], rope["low_freq_factor"], rope["high_freq_factor"]
    turns = old * f / (2 * torch.pi)            # how often a pair turns within the original context
    s = ((turns - low) / (high - low)).clamp(0, 1)
    return f * (s + (1 - s) / rope["factor"])


def check_scaling(model, ids):
    """The fixture must be able to tell scaled frequencies from plain ones."""
    rope = model.config.rope_parameters
    if rope["rope_type"] == "llama3":
        with_it = model(input_ids=ids).logits
        rope["rope_type"] = "default"
        change = relative(model(input_ids=ids).logits, with_it)
        rope["rope_type"] = "llama3"
        print(f"    without rope scaling the logits would be off by {change:.1e}")
        assert change > 1e-2


def randomise(model, seed):
    g = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, p in model.named_parameters():
            noise = torch.randn(p.shape, generator=g)
            if p.ndim >= 2:
                p.copy_(0.15 * noise)
            elif name.endswith("bias"):
                p.copy_(0.1 * noise)
            else:
                p.copy_(1 + 0.2 * noise)


def groups(model):
    p = list(model.parameters())
    return [{"params": [x for x in p if x.ndim >= 2], "weight_decay": DECAY},
            {"params": [x for x in p if x.ndim < 2], "weight_decay": 0.0}]


def compute(model, ids, targets, steps=STEPS):
    """Everything a fixture holds, in the model's own type."""
    out, n = {}, ids.numel()
    optimizer = torch.optim.AdamW(groups(model), lr=LR, betas=(0.9, 0.95), eps=1e-8, foreach=False)
    losses, norms = [], []
    for step in range(steps):
        logits = model(input_ids=ids).logits
        loss = F.cross_entropy(logits.reshape(n, V), targets.reshape(n))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        if step == 0:
            out["logits"], out["loss"] = logits.detach().clone(), loss.detach().reshape(1)
            out["logp"] = torch.log_softmax(logits.detach(), -1).gather(-1, targets[..., None])[..., 0]
            for name, p in model.named_parameters():
                out["grad." + name] = p.grad.clone()
        losses.append(loss.item())
        norms.append(torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP).item())
        optimizer.step()
    if steps:
        out["adamw.losses"] = torch.tensor(losses, dtype=torch.float64)
        out["adamw.grad_norms"] = torch.tensor(norms, dtype=torch.float64)
        for name, p in model.named_parameters():
            if any(k in name for k in (".h.0.", ".layers.0.", "ln_f", "model.norm", "wpe")):
                out["after." + name] = p.detach().clone()
    return out


def store(path, out, ids, targets):
    keep = ("loss", "adamw.losses", "adamw.grad_norms")
    tensors = {k: (v.double() if k in keep else v.float()).contiguous() for k, v in out.items()}
    tensors["input_ids"], tensors["targets"] = ids.contiguous(), targets.contiguous()
    save_file(tensors, os.path.join(path, "expected.safetensors"), metadata={"format": "pt"})
    out["logits"].float().numpy().astype("<f4").tofile(os.path.join(path, "expected.f32"))


def relative(a, b):
    return ((a.double() - b.double()).abs().max() / b.double().abs().max()).item()


def compare(name, out32, out):
    """How far ordinary float32 is from the float64 stored here. Anything large means a broken oracle."""
    worst = max((relative(out32[k], v), k) for k, v in out.items() if k.startswith("grad."))
    print(f"{name}: loss {out['loss'].item():.9f}; float32 is off by: "
          f"logits {relative(out32['logits'], out['logits']):.1e}, gradients {worst[0]:.1e} ({worst[1]}), "
          f"losses {relative(out32['adamw.losses'], out['adamw.losses']):.1e}, "
          f"norms {relative(out32['adamw.grad_norms'], out['adamw.grad_norms']):.1e}")
    after = max((relative(out32[k], v), k) for k, v in out.items() if k.startswith("after.") and "attn.bias" not in k)
    print(f"    parameters after {STEPS} steps {after[0]:.1e} ({after[1]}); "
          f"losses {out['adamw.losses'][0]:.5f} -> {out['adamw.losses'][-1]:.5f}, "
          f"norm {out['adamw.grad_norms'][0]:.4f}")
    assert relative(out32["logits"], out["logits"]) < 2e-5 and worst[0] < 2e-4
    assert min(v.abs().max() for k, v in out.items() if k.startswith("grad.")) > 1e-4


def batch(T, seed):
    g = torch.Generator().manual_seed(seed)
    text = torch.randint(0, V, (B, T + 1), generator=g)
    return text[:, :-1].clone(), text[:, 1:].clone()


def fresh(root, name):
    path = os.path.join(root, name)
    shutil.rmtree(path, ignore_errors=True)
    os.makedirs(path)
    return path


def write_model(root, name, make, T, seed, dtype=torch.float32, shard="1GB", tokenizer=True):
    """Draw, save, reload what was saved, compute in float64 and (before transformers is patched) in float32."""
    path = fresh(root, name)
    model = make()
    randomise(model, seed)
    model.to(dtype).save_pretrained(path, max_shard_size=shard)
    if tokenizer:
        from tokenizer import write_tiny
        write_tiny(path, V)
    ids, targets = batch(T, seed + 1)
    kind = type(model)
    return path, ids, targets, lambda t: kind.from_pretrained(path, dtype=t)


def gpt2():
    return GPT2LMHeadModel(GPT2Config(
        vocab_size=V, n_positions=32, n_ctx=32, n_embd=C, n_layer=L, n_head=H, resid_pdrop=0.0, embd_pdrop=0.0,
        attn_pdrop=0.0, bos_token_id=0, eos_token_id=0))


def llama(KV, F_, tied, rope, context):
    return LlamaForCausalLM(LlamaConfig(
        vocab_size=V, hidden_size=C, intermediate_size=F_, num_hidden_layers=L, num_attention_heads=H,
        num_key_value_heads=KV, max_position_embeddings=context, rms_norm_eps=1e-5, tie_word_embeddings=tied,
        rope_parameters=rope, bos_token_id=0, eos_token_id=0, pad_token_id=1))


def write_bare_gpt2(root):
    """As openai-community/gpt2: names without "transformer.", causal masks as tensors, old config; in float16."""
    path = fresh(root, "gpt2-bare")
    source = load_file(os.path.join(root, "gpt2-tiny", "model.safetensors"))
    half = {k: v.half() for k, v in source.items()}
    bare = {k.removeprefix("transformer."): v for k, v in half.items()}
    for i in range(L):
        bare[f"h.{i}.attn.bias"] = torch.tril(torch.ones(32, 32)).reshape(1, 1, 32, 32).half()
        bare[f"h.{i}.attn.masked_bias"] = torch.tensor(-1e4).half()
    save_file(bare, os.path.join(path, "model.safetensors"), metadata={"format": "pt"})
    config = {"activation_function": "gelu_new", "architectures": ["GPT2LMHeadModel"], "attn_pdrop": 0.1,
              "bos_token_id": 0, "embd_pdrop": 0.1, "eos_token_id": 0, "initializer_range": 0.02,
              "layer_norm_epsilon": 1e-05, "model_type": "gpt2", "n_ctx": 32, "n_embd": C, "n_head": H, "n_layer": L,
              "n_positions": 32, "resid_pdrop": 0.1, "vocab_size": V}
    with open(os.path.join(path, "config.json"), "w") as f:
        json.dump(config, f, indent=2)
    model = gpt2().double().eval()
    model.load_state_dict({k: v.double() for k, v in half.items()}, strict=False)
    ids, targets = batch(8, 77)
    out = {k: v for k, v in compute(model, ids, targets, steps=1).items() if k in ("logits", "loss", "logp")}
    store(path, out, ids, targets)
    loaded, info = GPT2LMHeadModel.from_pretrained(path, dtype=torch.float64, output_loading_info=True)
    theirs = relative(loaded.eval()(input_ids=ids).logits, out["logits"])
    assert not info["missing_keys"] and theirs < 1e-12, (info, theirs)
    print(f"gpt2-bare: loss {out['loss'].item():.9f}; transformers loads the folder and agrees")


def old_spelling(path):
    """The same config as transformers 4 wrote it: rope_theta and rope_scaling apart, torch_dtype."""
    with open(os.path.join(path, "config.json")) as f:
        c = json.load(f)
    rope = c.pop("rope_parameters")
    c["rope_theta"] = rope.pop("rope_theta")
    c["rope_scaling"] = None if rope["rope_type"] == "default" else rope
    c["torch_dtype"] = c.pop("dtype")
    c["transformers_version"] = "4.46.0"
    with open(os.path.join(path, "config.v4.json"), "w") as f:
        json.dump(c, f, indent=2)
        f.write("\n")


def main():
    here = os.path.dirname(os.path.abspath(__file__))
    root = sys.argv[1] if len(sys.argv) > 1 else os.path.join(here, "../data/models")
    torch.set_num_threads(1)
    plain = {"rope_type": "default", "rope_theta": 10000.0}
    # Context 16 and these factors put the four frequencies in all three zones: kept, blended, divided.
    scaled = {"rope_type": "llama3", "rope_theta": 20.0, "factor": 4.0, "low_freq_factor": 1.0, "high_freq_factor": 2.0,
              "original_max_position_embeddings": 16}
    todo = {
        "gpt2-tiny": write_model(root, "gpt2-tiny", gpt2, 16, 11),
        "llama-tiny": write_model(root, "llama-tiny", lambda: llama(2, 88, True, plain, 32), 16, 21),
        "llama-untied": write_model(root, "llama-untied", lambda: llama(1, 64, False, scaled, 64), 24, 31,
                                    torch.bfloat16, "45KB", tokenizer=False),
    }
    single = {name: compute(load(torch.float32), ids, targets) for name, (_, ids, targets, load) in todo.items()}
    make_double()
    for name, (path, ids, targets, load) in todo.items():
        model = load(torch.float64)
        if hasattr(model.model if hasattr(model, "model") else model, "rotary_emb"):
            theirs = model.model.rotary_emb.inv_freq.double()
            assert relative(double_frequencies(model.config), theirs) < 1e-6
            check_scaling(model, ids)
        out = compute(model, ids, targets)
        compare(name, single[name], out)
        store(path, out, ids, targets)
    old_spelling(os.path.join(root, "llama-tiny"))
    old_spelling(os.path.join(root, "llama-untied"))
    write_bare_gpt2(root)


if __name__ == "__main__":
    main()
