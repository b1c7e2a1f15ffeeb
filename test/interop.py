#!/usr/bin/env python3
"""Do transformers and our code read each other's folders?

    python3 test/interop.py [--probe build/hf_probe] [--saved DIR ...] [--big] [--tmp DIR]

1. Folders saved by transformers (the fixtures, and fresh ones of every kind: sharded, bf16, fp16, Qwen2, old config
   spelling) are loaded by our code: same logits. Our code saves them again: transformers loads that without a missing
   or unexpected key and computes the same logits.
2. A folder written by train_gpt (a tiny one, made here, or --saved DIR) loads in transformers, gives our logits, and its tokenizer gives our ids.
3. Mistral, Qwen3, SmolLM3, OLMo-2 and Phi-3 with every option that we compute (families.py), the same as 1, to 1e-5.
4. --big: the same as 1 at the true shapes of GPT-2 124M, SmolLM2-135M and Qwen2-0.5B, random weights in a temporary
   folder (3 GB at most, removed at the end), with our peak memory and time.

Our side is a small program, the probe:
    hf_probe DIR ids.txt out.f32        load the folder, read ids separated by white space (one row), write T*V float32
                                        and print "peak N GB", its peak memory
    hf_probe --resave DIR OUT           load and save
    hf_probe --encode DIR text.txt      print the ids of the file's bytes (special tokens are plain text, nothing added)

Without torch and transformers it prints a line that begins with SKIP and succeeds.
"""
import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time

import peers

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
HERE = os.path.dirname(os.path.abspath(__file__))
try:
    import torch
    import transformers
    import families
    transformers.utils.logging.disable_progress_bar()
except ImportError as e:
    print(f"SKIP: interop.py: {e.name} is not installed (pip install torch transformers)")
    sys.exit(0)

TOLERANCE = 1e-4                        # max|a-b| / max|b| of the logits, float32 on both sides
passed = failed = 0


def report(good, name, text):
    global passed, failed
    passed, failed = passed + bool(good), failed + (not good)
    print(f"{'ok  ' if good else 'FAIL'} {name}: {text}", flush=True)


def dtype_argument(t):
    return {"dtype": t} if int(transformers.__version__.split(".")[0]) >= 5 else {"torch_dtype": t}


class Probe:
    """Runs our program and keeps what it cost."""

    def __init__(self, path, tmp):
        self.path, self.tmp, self.peak, self.seconds = path, tmp, "", 0.0

    def run(self, *arguments):
        begin = time.time()
        with open(os.path.join(self.tmp, "probe.log"), "w+", encoding="utf-8") as log:
            # Through a shell: a child's peak memory counts what its parent had before exec, and this parent is huge.
            process = subprocess.run(["sh", "-c", '"$@"; exit $?', "sh", self.path, *arguments], stdout=log,
                                     stderr=subprocess.STDOUT)
            log.seek(0)
            text = log.read()
        peak = re.search(r"^peak .*", text, re.MULTILINE)
        self.peak, self.seconds = ", " + peak[0] if peak else "", time.time() - begin
        if process.returncode:
            raise RuntimeError(f"{os.path.basename(self.path)} {' '.join(arguments)} ended with {process.returncode}: "
                               f"{text.strip()[-400:]}")
        return text

    def logits(self, folder, ids):
        rows, out = os.path.join(self.tmp, "ids.txt"), os.path.join(self.tmp, "out.f32")
        with open(rows, "w") as f:
            f.write(" ".join(map(str, ids)) + "\n")
        if os.path.exists(out):
            os.remove(out)
        self.run(folder, rows, out)
        with open(out, "rb") as f:
            return torch.frombuffer(bytearray(f.read()), dtype=torch.float32).reshape(len(ids), -1)

    def encode(self, folder, text):
        file = os.path.join(self.tmp, "text.txt")
        with open(file, "wb") as f:
            f.write(text.encode())
        return [int(n) for n in self.run("--encode", folder, file).split()]


def load(folder):
    """The model in float32, and the keys that did not fit."""
    model, info = transformers.AutoModelForCausalLM.from_pretrained(
        folder, output_loading_info=True, **dtype_argument(torch.float32))
    wrong = {k: sorted(map(str, v)) for k, v in info.items() if k.endswith("_keys") and v}
    return model.eval(), wrong


@torch.no_grad()
def torch_logits(model, ids):
    return model(input_ids=torch.tensor([ids])).logits[0].float()


def difference(a, b):
    if a.shape != b.shape:
        return float("nan")
    return ((a - b).abs().max() / b.abs().max()).item()


def context(config):
    """Tokens that the model may be asked for: dynamic rope goes beyond, a window does not."""
    scale = (getattr(config, "rope_parameters", None) or {}).get
    most = config.max_position_embeddings * (scale("factor", 1) if scale("rope_type") == "dynamic" else 1)
    slides = getattr(config, "use_sliding_window", True) and getattr(config, "sliding_window", None)
    return int(min(most, slides or most))


def some_ids(config, n):
    g = torch.Generator().manual_seed(3)
    return torch.randint(0, config.vocab_size, (min(n, context(config)),), generator=g).tolist()


def check_folder(probe, name, folder, tolerated=(), n=48, tolerance=TOLERANCE):
    """Theirs to ours, then ours back to theirs."""
    again = os.path.join(probe.tmp, "again")
    shutil.rmtree(again, ignore_errors=True)
    try:
        model, wrong = load(folder)
        wrong = {k: v for k, v in wrong.items() if k not in tolerated}
        ids = some_ids(model.config, n)
        theirs = torch_logits(model, ids)
        del model
        ours = probe.logits(folder, ids)
        error, peak, seconds = difference(ours, theirs), probe.peak, probe.seconds
        report(not wrong and error <= tolerance, name, f"logits {error:.1e}{f', keys {wrong}' if wrong else ''}, "
               f"{len(ids)} tokens in {seconds:.2f} s{peak} (files {folder_bytes(folder) / 1e9:.3f} GB)")
        probe.run("--resave", folder, again)
        model, wrong = load(again)
        error = difference(torch_logits(model, ids), theirs)
        report(not wrong and error <= tolerance, name + " saved by us",
               f"logits {error:.1e}, keys {wrong or 'complete'}{probe.peak}")
    except (RuntimeError, OSError, ValueError, KeyError) as problem:
        report(False, name, str(problem))
    shutil.rmtree(again, ignore_errors=True)


def for_this_version(folder, tmp):
    """transformers 4 does not understand version 5's rope_parameters: give it the same config in the old spelling."""
    old = os.path.join(folder, "config.v4.json")
    if int(transformers.__version__.split(".")[0]) >= 5 or not os.path.exists(old):
        return folder
    copy = shutil.copytree(folder, os.path.join(tmp, os.path.basename(folder)))
    shutil.copy(old, os.path.join(copy, "config.json"))
    return copy


def folder_bytes(folder):
    return sum(os.path.getsize(os.path.join(folder, f)) for f in os.listdir(folder) if f.endswith(".safetensors")
               and not f.startswith("expected"))


def check_saved(probe, folder):
    """What train_gpt wrote: model and tokenizer."""
    try:
        model, wrong = load(folder)
        ids = some_ids(model.config, 64)
        error = difference(probe.logits(folder, ids), torch_logits(model, ids))
        report(not wrong and error <= TOLERANCE, folder, f"logits {error:.1e}, keys {wrong or 'complete'}")
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
        sys.path.insert(0, os.path.join(HERE, "gen"))
        from corpus import cases
        texts, bad = cases(), []
        for text in texts:
            theirs = tokenizer(text, add_special_tokens=False, split_special_tokens=True)["input_ids"]
            ours = probe.encode(folder, text)
            if list(theirs) != ours:
                bad.append((text, theirs, ours))
        report(not bad, folder + " tokenizer", f"{len(texts)} texts, {len(bad)} differ" +
               (f", the first: {bad[0]}" if bad else ""))
        report(len(tokenizer) <= model.config.vocab_size, folder + " sizes",
               f"tokenizer {len(tokenizer)} ids, model {model.config.vocab_size}")
    except (RuntimeError, OSError, ValueError, KeyError) as problem:
        report(False, folder, str(problem))


def randomised(kind, config, seed, std=0.15):
    """Random weights with nothing left at zero or one."""
    torch.manual_seed(seed)
    model = kind(config)
    with torch.no_grad():
        for name, p in model.named_parameters():
            if p.ndim >= 2:
                p.normal_(0, std)
            else:
                p.normal_(0.0 if name.endswith("bias") else 1.0, 0.1)
    return model


def llama(**more):
    return transformers.LlamaConfig(**{**dict(
        vocab_size=300, hidden_size=48, intermediate_size=112, num_hidden_layers=3, num_attention_heads=6,
        num_key_value_heads=2, max_position_embeddings=128, rms_norm_eps=1e-5, tie_word_embeddings=True), **more})


def gpt2(**more):
    return transformers.GPT2Config(**{**dict(vocab_size=301, n_positions=64, n_embd=48, n_layer=3, n_head=3), **more})


def qwen2(**more):
    return transformers.Qwen2Config(**{**dict(
        vocab_size=300, hidden_size=48, intermediate_size=112, num_hidden_layers=3, num_attention_heads=6,
        num_key_value_heads=2, max_position_embeddings=128, rms_norm_eps=1e-6, tie_word_embeddings=True), **more})


def old_spelling(folder):
    """Rewrite config.json as transformers 4 wrote it."""
    path = os.path.join(folder, "config.json")
    with open(path) as f:
        c = json.load(f)
    rope = c.pop("rope_parameters", None)
    if rope:
        c["rope_theta"] = rope.pop("rope_theta")
        c["rope_scaling"] = None if rope["rope_type"] == "default" else rope
    if "dtype" in c:
        c["torch_dtype"] = c.pop("dtype")
    with open(path, "w") as f:
        json.dump(c, f, indent=2)


def check_fresh(probe):
    t = transformers
    scaling = {"rope_type": "llama3", "rope_theta": 500.0, "factor": 8.0, "low_freq_factor": 1.0,
               "high_freq_factor": 4.0, "original_max_position_embeddings": 32}
    if int(t.__version__.split(".")[0]) >= 5:
        scaled = dict(rope_parameters=scaling)
    else:
        scaled = dict(rope_theta=scaling.pop("rope_theta"), rope_scaling=scaling)
    kinds = [
        ("GPT-2", t.GPT2LMHeadModel, gpt2(), {}, {}),
        ("GPT-2 in 4 shards", t.GPT2LMHeadModel, gpt2(), {}, {"max_shard_size": "120KB"}),
        ("GPT-2 float16", t.GPT2LMHeadModel, gpt2(), {"dtype": torch.float16}, {}),
        ("Llama tied", t.LlamaForCausalLM, llama(), {}, {}),
        ("Llama untied", t.LlamaForCausalLM, llama(tie_word_embeddings=False), {}, {}),
        ("Llama bf16, sharded", t.LlamaForCausalLM, llama(), {"dtype": torch.bfloat16}, {"max_shard_size": "70KB"}),
        ("Llama, one key head", t.LlamaForCausalLM, llama(num_key_value_heads=1), {}, {}),
        ("Llama 3 scaling", t.LlamaForCausalLM, llama(**scaled), {}, {}),
        ("Llama 3 scaling, old config", t.LlamaForCausalLM, llama(**scaled), {"old": True}, {}),
        ("Qwen2 tied", t.Qwen2ForCausalLM, qwen2(), {}, {}),
        ("Qwen2 untied, old config", t.Qwen2ForCausalLM, qwen2(tie_word_embeddings=False), {"old": True}, {}),
    ]
    for seed, (name, kind, config, how, saving) in enumerate(kinds):
        folder = os.path.join(probe.tmp, "fresh")
        randomised(kind, config, seed).to(how.get("dtype", torch.float32)).save_pretrained(folder, **saving)
        if how.get("old"):
            old_spelling(folder)
        check_folder(probe, name, folder)
        shutil.rmtree(folder)


def check_families(probe, wanted):
    """Mistral, Qwen3, SmolLM3, OLMo-2, Phi-3 with all their options, in both spellings of config.json."""
    for seed, (name, config) in enumerate(families.variants()):
        if wanted and not any(name.startswith(w) for w in wanted):
            continue
        folder = os.path.join(probe.tmp, "fresh")
        kind = transformers.AutoModelForCausalLM.from_config
        randomised(kind, config, seed).save_pretrained(folder)
        if seed % 2:
            old_spelling(folder)
        check_folder(probe, name, folder, tolerance=1e-5)
        shutil.rmtree(folder)


def check_big(probe):
    t = transformers
    smol = llama(vocab_size=49152, hidden_size=576, intermediate_size=1536, num_hidden_layers=30, num_attention_heads=9,
                 num_key_value_heads=3, max_position_embeddings=8192)
    qwen = qwen2(vocab_size=151936, hidden_size=896, intermediate_size=4864, num_hidden_layers=24,
                 num_attention_heads=14, num_key_value_heads=2, max_position_embeddings=32768)
    kinds = [("GPT-2 124M", t.GPT2LMHeadModel, t.GPT2Config(), torch.float32),
             ("SmolLM2-135M", t.LlamaForCausalLM, smol, torch.bfloat16),
             ("Qwen2-0.5B", t.Qwen2ForCausalLM, qwen, torch.bfloat16)]
    for seed, (name, kind, config, dtype) in enumerate(kinds):
        folder = os.path.join(probe.tmp, "big")
        try:
            model = randomised(kind, config, seed, std=0.03)
            count = sum(p.numel() for p in model.parameters())
            model.to(dtype).save_pretrained(folder)
            del model
            check_folder(probe, f"{name} ({count:,} parameters, {str(dtype)[6:]})", folder, n=64)
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def main():
    p = argparse.ArgumentParser(description="Do transformers and our code read each other's folders?")
    p.add_argument("--probe", default=os.path.join(HERE, "..", "build", "hf_probe"))
    p.add_argument("--saved", action="append", default=[], metavar="DIR", help="a folder written by train_gpt")
    p.add_argument("--families", nargs="*", metavar="NAME", help="these alone (none: all), and nothing else")
    p.add_argument("--big", action="store_true", help="also the true shapes, up to 0.5 billion parameters")
    p.add_argument("--tmp", help="where the temporary folder goes")
    o = p.parse_args()
    if not os.access(o.probe, os.X_OK):
        sys.exit(f"error: there is no program {o.probe}\n  try: make build/hf_probe")
    print(f"transformers {transformers.__version__}, torch {torch.__version__}")
    with tempfile.TemporaryDirectory(prefix="interop", dir=o.tmp) as tmp:
        probe = Probe(os.path.abspath(o.probe), tmp)
        if o.families is not None:
            check_families(probe, o.families)
            print(f"{passed} passed, {failed} failed")
            sys.exit(failed > 0)
        models = os.path.join(HERE, "data/models")
        for name in sorted(os.listdir(models)):
            # gpt2-bare holds causal masks as tensors: transformers calls some unexpected, as in the real GPT-2.
            folder = for_this_version(os.path.join(models, name), tmp)
            check_folder(probe, name, folder, ("unexpected_keys",) if name == "gpt2-bare" else ())
        check_fresh(probe)
        check_families(probe, [])
        for folder in o.saved or [peers.tiny_model(tmp)]:
            check_saved(probe, folder)
        if o.big:
            check_big(probe)
    print(f"{passed} passed, {failed} failed")
    sys.exit(failed > 0)


if __name__ == "__main__":
    main()
