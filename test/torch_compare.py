#!/usr/bin/env python3
"""Train the same model on the same batches in PyTorch and print the losses side by side.

    ./train_gpt ... --dump-batches batches.bin          (our run: keeps its step-0 checkpoint, its log and its batches)
    python3 test/torch_compare.py DIR batches.bin log.csv [--steps N] [--dtype float32|float64] [--tolerance X]

DIR         our checkpoint before the first step, loaded by transformers
batches.bin int32: 0x4c4c4d42, B, T, steps; then for each step B*T tokens and B*T targets (negative: not counted)
log.csv     our log, with the columns step, loss, lr: the loss before each update and the learning rate of that update

AdamW as ours: betas .9 .95, eps 1e-8, decay .1 on matrices only, gradient clipped to norm 1. Rows are plain
text: positions 0 .. T-1, no document mask. Without transformers it prints a line that begins with SKIP and succeeds.
"""
import argparse
import csv
import os
import sys

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
try:
    import torch
    import transformers
    transformers.utils.logging.disable_progress_bar()
except ImportError as e:
    print(f"SKIP: torch_compare.py: {e.name} is not installed (pip install torch transformers)")
    sys.exit(0)

MAGIC = 0x4C4C4D42


def read_batches(path):
    """[(tokens, targets)], each (B,T)."""
    with open(path, "rb") as f:
        data = torch.frombuffer(bytearray(f.read()), dtype=torch.int32)
    if len(data) < 4 or data[0] != MAGIC:
        sys.exit(f"error: {path} is not a file of batches: it must begin with 0x{MAGIC:x}")
    B, T, steps = data[1:4].tolist()
    if len(data) != 4 + 2 * B * T * steps:
        need = 16 + 8 * B * T * steps
        sys.exit(f"error: {path} says {steps} steps of {B} x {T}, that is {need} bytes; it has {4 * len(data)}")
    data = data[4:].long().reshape(steps, 2, B, T)
    return [(step[0], step[1]) for step in data]


def read_log(path):
    """[(step, loss, lr)] of the rows that have a training loss."""
    with open(path, newline="") as f:
        rows = list(csv.DictReader(f))
    if not rows or not {"step", "loss", "lr"} <= rows[0].keys():
        sys.exit(f"error: {path} needs the columns step, loss and lr")
    return [(int(r["step"]), float(r["loss"]), float(r["lr"])) for r in rows if r["loss"] and r["lr"]]


def main():
    p = argparse.ArgumentParser(description="Train the same model on the same batches in PyTorch.")
    p.add_argument("folder")
    p.add_argument("batches")
    p.add_argument("log")
    p.add_argument("--adapter", help="train only this PEFT adapter, on top of DIR")
    p.add_argument("--steps", type=int, help="at most so many")
    p.add_argument("--dtype", choices=["float32", "float64"], default="float32")
    p.add_argument("--beta1", type=float, default=0.9)
    p.add_argument("--beta2", type=float, default=0.95)
    p.add_argument("--eps", type=float, default=1e-8)
    p.add_argument("--weight-decay", type=float, default=0.1)
    p.add_argument("--clip", type=float, default=1.0)
    p.add_argument("--every", type=int, default=1, help="print every so many steps")
    p.add_argument("--tolerance", type=float, help="fail if a loss differs by more")
    p.add_argument("--threads", type=int)
    o = p.parse_args()
    if o.threads:
        torch.set_num_threads(o.threads)

    batches, log = read_batches(o.batches), read_log(o.log)
    steps = min(len(batches), len(log), o.steps or len(log))
    if steps == 0:
        sys.exit("error: no steps to compare")
    model = transformers.AutoModelForCausalLM.from_pretrained(o.folder).to(getattr(torch, o.dtype)).eval()
    # nn.Embedding gives its padding_idx no gradient. Where pad is the end of a turn, as in SmolLM2-Instruct, PyTorch
    # never learns that token as an input, and the norm that clipping sees is another one. Ours learns it.
    model.get_input_embeddings().padding_idx = None
    if o.adapter:
        import peft
        model = peft.PeftModel.from_pretrained(model, o.adapter, is_trainable=True).eval()
    parameters = [x for x in model.parameters() if x.requires_grad]
    optimizer = torch.optim.AdamW(
        [{"params": [x for x in parameters if x.ndim >= 2], "weight_decay": o.weight_decay},
         {"params": [x for x in parameters if x.ndim < 2], "weight_decay": 0.0}],
        lr=0.0, betas=(o.beta1, o.beta2), eps=o.eps)
    count, shape = sum(x.numel() for x in parameters), tuple(batches[0][0].shape)
    print(f"{count:,} parameters, {steps} steps of {shape}, {o.dtype}")
    print("  step      lr         ours        torch   difference")
    worst = worst_step = total = 0.0
    for i in range(steps):
        (step, ours, lr), (tokens, targets) = log[i], batches[i]
        for group in optimizer.param_groups:
            group["lr"] = lr
        logits = model(input_ids=tokens).logits
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten().clamp(min=-1), ignore_index=-1)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, o.clip)
        optimizer.step()
        gap = abs(ours - loss.item())
        total += gap
        if not gap <= worst:            # NaN counts as worse
            worst, worst_step = gap, step
        if i % o.every == 0 or i == steps - 1:
            print(f"{step:6d}  {lr:.2e}  {ours:11.7f}  {loss.item():11.7f}   {gap:.2e}", flush=True)
    print(f"largest difference {worst:.2e} (step {worst_step:.0f}), mean {total / steps:.2e}, over {steps} steps")
    if o.tolerance is not None and not worst <= o.tolerance:
        sys.exit(f"error: more than {o.tolerance:g}")


if __name__ == "__main__":
    main()
