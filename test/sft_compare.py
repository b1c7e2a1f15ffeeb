#!/usr/bin/env python3
"""Fine-tune models of the real families here and in PyTorch on identical batches, and compare the losses.

    make train_sft && python3 test/sft_compare.py [--steps 5] [--tolerance 1e-3] [FAMILY ...]

Each family is a randomly initialised model saved by transformers' save_pretrained, with a tokenizer of that family
(test/data/tok). SmolLM2-135M has its true shape (1 GB of files, removed afterwards), the others its architecture in
small. Each is trained whole and with LoRA on all matrices: here by ./train_sft --dump-batches, then in PyTorch
(torch_compare.py, and peft for the adapters), starting from the same checkpoint-0. Without transformers or peft it
prints a line that begins with SKIP and succeeds.
"""
import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
try:
    import torch
    import transformers
    import peft  # noqa: F401  (torch_compare.py needs it)
    import families
    from transformers import GPT2Config, LlamaConfig, Qwen2Config
    transformers.utils.logging.disable_progress_bar()
except ImportError as e:
    print(f"SKIP: sft_compare.py: {e.name} is not installed (pip install torch transformers peft)")
    sys.exit(0)

HERE = os.path.dirname(os.path.abspath(__file__))
SMALL = dict(hidden_size=64, intermediate_size=160, num_hidden_layers=2, num_attention_heads=4, initializer_range=0.1)


def newer(family, **more):
    return lambda V: families.config(family, **{**SMALL, "vocab_size": V, "num_key_value_heads": 2, **more})


# family: tokenizer, configuration (the vocabulary is the tokenizer's unless said)
FAMILIES = {
    "gpt2": ("gpt2re", lambda V: GPT2Config(vocab_size=V, n_positions=128, n_embd=64, n_layer=2, n_head=4,
                                            initializer_range=0.1)),
    "llama-3": ("llama3re", lambda V: LlamaConfig(
        vocab_size=V, num_key_value_heads=2, max_position_embeddings=8192, rms_norm_eps=1e-5, rope_theta=500000.0,
        tie_word_embeddings=True, rope_scaling=dict(rope_type="llama3", factor=32.0, low_freq_factor=1.0,
                                                    high_freq_factor=4.0, original_max_position_embeddings=64),
        **SMALL)),
    "qwen2": ("qwen2", lambda V: Qwen2Config(vocab_size=V, num_key_value_heads=2, max_position_embeddings=512,
                                             rope_theta=1000000.0, tie_word_embeddings=True, **SMALL)),
    "llama-2": ("spm", lambda V: LlamaConfig(vocab_size=V, num_key_value_heads=4, max_position_embeddings=512,
                                             rms_norm_eps=1e-5, tie_word_embeddings=False, **SMALL)),
    "tinyllama": ("spm-metaspace", lambda V: LlamaConfig(vocab_size=V, num_key_value_heads=1, rms_norm_eps=1e-5,
                                                         max_position_embeddings=512, tie_word_embeddings=False,
                                                         **SMALL)),
    "mistral": ("tekken", newer("mistral")),
    "mistral-yarn": ("tekken", newer("mistral", **families.STRETCHED["yarn"])),
    "qwen3": ("qwen2", newer("qwen3", tie_word_embeddings=True, attention_bias=True)),
    "smollm3": ("llama3re", newer("smollm3", tie_word_embeddings=True, num_hidden_layers=4)),
    "olmo2": ("dolma2", newer("olmo2")),
    "phi3": ("spm", newer("phi3")),
    "smollm2-135m": ("digits", lambda V: LlamaConfig(
        vocab_size=49152, hidden_size=576, intermediate_size=1536, num_hidden_layers=30, num_attention_heads=9,
        num_key_value_heads=3, max_position_embeddings=8192, rope_theta=100000.0, rms_norm_eps=1e-5,
        tie_word_embeddings=True, initializer_range=0.041666666666666664)),
}


def write_records(path):
    """Alpaca rows and conversations with a system turn, of different lengths."""
    with open(path, "w") as f:
        for i in range(48):
            answer = ["no", "yes, it is", "there are %d of them, as everyone knows" % i, "seven"][i % 4]
            if i % 4 == 3:
                m = [("system", "Be brief."), ("user", "Is it %d?" % i), ("assistant", answer), ("user", "So?"),
                     ("assistant", "So it is.")]
                row = {"messages": [dict(role=r, content=c) for r, c in m]}
            else:
                row = dict(instruction="What is number %d?" % i, input="one two three"[:i % 14], output=answer)
            f.write(json.dumps(row) + "\n")


def make_model(name, folder):
    tokenizer, config = FAMILIES[name]
    with open(f"{HERE}/data/tok/{tokenizer}/tokenizer.json", encoding="utf-8") as f:
        tok = json.load(f)
    with open(f"{HERE}/data/tok/{tokenizer}/tokenizer_config.json", encoding="utf-8") as f:
        special = json.load(f)
    ids = {**tok["model"]["vocab"], **{t["content"]: t["id"] for t in tok["added_tokens"]}}
    torch.manual_seed(1)
    c = config(max(ids.values()) + 1)
    c.bos_token_id, c.eos_token_id, c.pad_token_id = (ids.get(special.get(f"{k}_token")) for k in ("bos", "eos", "pad"))
    transformers.AutoModelForCausalLM.from_config(c).save_pretrained(folder)
    for file in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(f"{HERE}/data/tok/{tokenizer}/{file}", folder)


def run(command, what):
    p = subprocess.run([str(x) for x in command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if p.returncode:
        sys.exit(f"error: {what}\n{p.stdout[-2000:]}")
    return p.stdout


def compare(name, rank, folder, o):
    """(loss of the first step, loss of the last, largest difference, table) of one family."""
    base, out, batches = f"{folder}/base", f"{folder}/out", f"{folder}/batches.bin"
    data = f"{folder}/records.jsonl"
    command = [o.train_sft, "--model", base, "--data", data, "--out", out, "--overwrite", "--ask", 0,
               "--steps", o.steps, "--batch", o.batch, "--seq", 64, "--no-packing", "--lr", o.lr, "--schedule",
               "constant", "--warmup", 2, "--weight-decay", 0.1, "--precision", o.precision, "--dump-batches", batches,
               "--save-every", 0, "--lora-rank", rank, "--keep", 1000]
    run(command, f"{name}: train_sft failed")
    command = [sys.executable, f"{HERE}/torch_compare.py", base, batches, f"{out}/log.csv", "--weight-decay", 0.1,
               "--dtype", o.dtype]
    if rank:
        command += ["--adapter", f"{out}/checkpoint-0"]
    text = run(command, f"{name}: torch_compare.py failed")
    rows = re.findall(r"^ +(\d+) +\S+ +(\S+) +(\S+) +(\S+)$", text, re.M)
    if len(rows) != o.steps:
        sys.exit(f"error: {name}: {len(rows)} steps of {o.steps} were compared\n{text}")
    return float(rows[0][1]), float(rows[-1][1]), max(float(r[3]) for r in rows), text


def main():
    p = argparse.ArgumentParser(description="Fine-tune the real families here and in PyTorch, and compare the losses.")
    p.add_argument("family", nargs="*", help=f"of {', '.join(FAMILIES)}; none: all")
    p.add_argument("--steps", type=int, default=5)
    p.add_argument("--batch", type=int, default=4)
    p.add_argument("--lr", type=float, default=0, help="0: the driver's own, by the model's width")
    p.add_argument("--dtype", default="float32", help="of PyTorch: float32 or float64")
    p.add_argument("--rank", type=int, default=4, help="of the adapters")
    p.add_argument("--precision", default="fp32")
    p.add_argument("--tolerance", type=float, default=1e-3)
    p.add_argument("--train-sft", default="./train_sft")
    p.add_argument("--verbose", action="store_true", help="print every step")
    o = p.parse_args()
    unknown = set(o.family) - set(FAMILIES)
    if unknown:
        sys.exit(f"error: unknown family {', '.join(sorted(unknown))}: use {', '.join(FAMILIES)}")
    worst = 0.0
    print(f"{'family':<14} {'trained':<8} {'first loss':>10} {'last loss':>10}   largest difference in {o.steps} steps")
    for name in o.family or FAMILIES:
        folder = tempfile.mkdtemp(prefix="sft-compare-")
        try:
            write_records(f"{folder}/records.jsonl")
            make_model(name, f"{folder}/base")
            for rank in (0, o.rank):
                first, last, gap, text = compare(name, rank, folder, o)
                print(f"{name:<14} {'LoRA' if rank else 'whole':<8} {first:10.5f} {last:10.5f}   {gap:.1e}", flush=True)
                if o.verbose:
                    print(text)
                if not gap <= worst:            # NaN counts as worse
                    worst = gap
        finally:
            shutil.rmtree(folder)
    if not worst <= o.tolerance:
        sys.exit(f"error: more than {o.tolerance:g}")


if __name__ == "__main__":
    main()
