#!/usr/bin/env python3
"""Adapters as PEFT saves them, and what PyTorch computes with them in float64, on the models of test/gen/models.py.

    python3 test/gen/lora.py [test/data]        (needs torch, transformers, peft, safetensors)

Writes one folder per adapter, test/data/lora/<name>, with adapter_config.json and adapter_model.safetensors (saved by
save_pretrained; A as PEFT draws it, B drawn too, or half of the gradients would be zero) and

    expected.safetensors        float32 except where said:
        input_ids, targets      I64 [B,T]
        logits                  [B,T,V]      with the adapter beside the model
        merged                  [B,T,V]      after merge_and_unload
        loss                    F64 [1]      mean of -log p(target) over all B*T places
        grad.<tensor>           gradient of the loss, under the tensor's name in adapter_model.safetensors
        adamw.losses            F64 [5]      loss before each of 5 AdamW steps on the adapters alone
                                             (lr 1e-2, betas .9 .95, eps 1e-8, decay 0, clip 1)

    python3 test/gen/lora.py --read BASE ADAPTER        does PEFT read what we saved? Prints PEFT's logits of ids 1 2 3 4 for an adapter of ours
"""
import json
import os
import shutil
import sys

os.environ.setdefault("HF_HUB_OFFLINE", "1")
import torch
import torch.nn.functional as F
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM

from models import batch, make_double

STEPS, LR = 5, 1e-2
ADAPTERS = {    # rank 6 is no power of two; rank-stabilised LoRA scales by alpha / sqrt(r)
    "gpt2": ("gpt2-tiny", dict(r=6, lora_alpha=9, target_modules=["c_attn", "mlp.c_proj"], fan_in_fan_out=True), 41),
    "llama": ("llama-tiny", dict(r=4, lora_alpha=10, target_modules="all-linear"), 43),
    "llama-qv": ("llama-tiny", dict(r=3, lora_alpha=5, target_modules=["q_proj", "v_proj"], use_rslora=True), 45),
}


def relative(a, b):
    return ((a.double() - b.double()).abs().max() / b.double().abs().max()).item()


def loss_of(model, ids, targets):
    logits = model(input_ids=ids).logits
    return logits, F.cross_entropy(logits.reshape(ids.numel(), -1), targets.reshape(-1))


def tidy(path):
    """The same bytes every time: PEFT writes a set, in an order of chance."""
    for file in os.listdir(path):
        os.chmod(os.path.join(path, file), 0o644)
    with open(os.path.join(path, "adapter_config.json")) as f:
        config = json.load(f)
    config["target_modules"].sort()
    with open(os.path.join(path, "adapter_config.json"), "w") as f:
        json.dump(config, f, indent=2)
        f.write("\n")


def make(root, name, base, settings, seed):
    path = os.path.join(root, "lora", name)
    shutil.rmtree(path, ignore_errors=True)
    torch.manual_seed(seed)
    folder = os.path.join(root, "models", base)
    model = get_peft_model(AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32), LoraConfig(**settings))
    with torch.no_grad():
        for key, p in model.named_parameters():
            if "lora_B" in key:
                p.copy_(0.1 * torch.randn(p.shape))
    model.peft_config["default"].base_model_name_or_path = "test/data/models/" + base
    model.save_pretrained(path)
    os.remove(os.path.join(path, "README.md"))
    tidy(path)
    model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float64), path,
                                      is_trainable=True).double().eval()
    ids, targets = batch(16, seed + 1)
    learned = {k: p for k, p in model.named_parameters() if p.requires_grad}
    optimizer = torch.optim.AdamW(learned.values(), lr=LR, betas=(0.9, 0.95), eps=1e-8, weight_decay=0.0, foreach=False)
    out, losses = {}, []
    for step in range(STEPS):
        logits, loss = loss_of(model, ids, targets)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        if step == 0:
            out["logits"], out["loss"] = logits.detach().clone(), loss.detach().reshape(1)
            for k, p in learned.items():
                out["grad." + k.replace(".default", "")] = p.grad.clone()
            base_logits = loss_of(model.get_base_model(), ids, targets)[0]
            with model.disable_adapter():
                off = loss_of(model, ids, targets)[0]
        losses.append(loss.item())
        torch.nn.utils.clip_grad_norm_(learned.values(), 1.0)
        optimizer.step()
    out["adamw.losses"] = torch.tensor(losses, dtype=torch.float64)
    fresh = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float64), path)
    out["merged"] = loss_of(fresh.double().merge_and_unload().eval(), ids, targets)[0].detach()
    assert relative(out["merged"], out["logits"]) < 1e-9 and relative(base_logits, out["logits"]) < 1e-9
    assert relative(off, out["logits"]) > 1e-2, "the adapter does nothing"
    assert min(v.abs().max() for k, v in out.items() if k.startswith("grad.")) > 1e-5
    keep = ("loss", "adamw.losses")
    tensors = {k: (v.double() if k in keep else v.float()).contiguous() for k, v in out.items()}
    tensors["input_ids"], tensors["targets"] = ids.contiguous(), targets.contiguous()
    save_file(tensors, os.path.join(path, "expected.safetensors"), metadata={"format": "pt"})
    os.chmod(os.path.join(path, "expected.safetensors"), 0o644)
    print(f"{name}: {len(learned)} tensors, loss {losses[0]:.9f} -> {losses[-1]:.9f}; "
          f"merged is off by {relative(out['merged'], out['logits']):.1e}")


def read(base, adapter):
    model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32), adapter).eval()
    logits = model(input_ids=torch.tensor([[1, 2, 3, 4]])).logits[0]
    print(" ".join(f"{x:.6f}" for x in logits[-1][:16].tolist()))


def main():
    torch.set_num_threads(1)
    make_double()
    if len(sys.argv) == 4 and sys.argv[1] == "--read":
        return read(sys.argv[2], sys.argv[3])
    root = sys.argv[1] if len(sys.argv) > 1 else os.path.join(os.path.dirname(os.path.abspath(__file__)), "../data")
    for name, (base, settings, seed) in ADAPTERS.items():
        make(root, name, base, settings, seed)


main()
