#!/usr/bin/env python3
"""Do other programs read our GGUF files, and do they compute the same probabilities?

    make && python3 test/gguf_check.py [--convert build/convert] [--llama DIR] [--folder DIR ...] [--big]

Small random models of each family, saved by transformers with the tokenizers of test/data/tok, go through build/convert
as f32, f16, bf16 and q8_0. Then
1. the gguf package reads every file;
2. transformers' own GGUF reader (f32, f16, q8_0) loads it: next-token probabilities against the original folder's;
3. llama.cpp, that of the wheel cyllama or (--llama) one built in DIR/build, or --llama-build, computes the same, and
   cuts the texts of cases.jsonl into the same ids;
4. of a tiny model of ours, trained here, it says the same greedily (in float32).
--folder: folders of ours too (out/base). --big: SmolLM2-135M's shape. The largest difference of a probability is
printed. f32 must agree to 2e-5. (ggml takes GELU from a table of 16-bit numbers: for GPT-2 the reference does too, to
5e-4, because arguments on the edge of a step fall to either side; both differences are printed.) For fewer bits the
weights must be within half a step of the original, f16 also to |dp| 1e-2; what bf16 and q8_0 then do to a
probability is a property of the model and only printed. What is not installed is skipped, and that is said.
"""
import argparse
import copy
import json
import os
import shutil
import subprocess
import tempfile

import peers
peers.need("gguf_check.py", "numpy", "torch", "transformers", "gguf")

import families
import gguf
import numpy as np
import torch
from peers import HERE
from transformers import (AutoModelForCausalLM, AutoTokenizer, GPT2Config, GPT2LMHeadModel, LlamaConfig,
                          LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM)

READS = {"gpt2", "llama", "qwen2"}    # what transformers reads itself
TOLERANCE = {"f32": 2e-5, "f16": 1e-2, "bf16": 1, "q8_0": 1}


def report(good, text):
    peers.report(good, *text.split(": ", 1))


def make(folder, tok, kind, seed, **more):
    """A random model, sharp enough that probabilities differ, beside a real tokenizer."""
    source = os.path.join(HERE, "data", "tok", tok)
    os.makedirs(folder)
    for name in os.listdir(source):
        shutil.copy(os.path.join(source, name), folder)
    t = json.load(open(os.path.join(source, "tokenizer.json"), encoding="utf-8"))
    V = len(set(t["model"]["vocab"].values()) | {a["id"] for a in t["added_tokens"]})
    torch.manual_seed(seed)
    if kind in families.FAMILIES:
        size = dict(vocab_size=V, hidden_size=64, intermediate_size=96, num_attention_heads=4, num_key_value_heads=2)
        model = AutoModelForCausalLM.from_config(families.config(kind, **{**size, **more}))
    elif kind == "gpt2":
        size = dict(n_positions=128, n_embd=64, n_layer=2, n_head=4, bos_token_id=0, eos_token_id=0)
        model = GPT2LMHeadModel(GPT2Config(vocab_size=V, **{**size, **more}))
    else:
        size = dict(hidden_size=64, intermediate_size=96, num_hidden_layers=2, num_attention_heads=4,
                    num_key_value_heads=2, max_position_embeddings=128)
        cls, config = (LlamaForCausalLM, LlamaConfig) if kind == "llama" else (Qwen2ForCausalLM, Qwen2Config)
        model = cls(config(vocab_size=V + (21 if kind == "qwen2" else 0), **{**size, **more}))
    with torch.no_grad():
        for name, p in model.named_parameters():
            p.mul_(5) if p.dim() > 1 else p.add_(0.2 * torch.randn_like(p))
            if name in ("transformer.ln_f.weight", "model.norm.weight"):
                p.mul_(6)
    model.save_pretrained(folder)
    return folder


def probabilities(model, ids):
    with torch.no_grad():
        return torch.softmax(model(torch.tensor([ids])).logits[0].double(), -1).numpy()


class Wheel:
    """llama.cpp in this process; the model that was asked last stays open."""
    path = model = None

    def open(self, path):
        if path != self.path:
            self.path, self.model = path, peers.LlamaCpp(path)
        return self.model

    def probabilities(self, path, ids, V):
        return self.open(path).probabilities(ids)

    def encode(self, path, text):
        return self.open(path).encode(text)


class Llama:
    def __init__(self, source, build, tmp):
        self.program = os.path.join(tmp, "gguf_llama")
        lib = os.path.join(build, "bin")
        subprocess.run(["cc", "-O1", os.path.join(HERE, "gguf_llama.c"), f"-I{source}/include",
                        f"-I{source}/ggml/include", f"-L{lib}", "-lllama", "-lggml", "-lggml-base",
                        f"-Wl,-rpath,{lib}", "-o", self.program], check=True)
        self.tmp = tmp

    def probabilities(self, path, ids, V):
        row, out = os.path.join(self.tmp, "ids.txt"), os.path.join(self.tmp, "out.f32")
        with open(row, "w") as f:
            f.write(" ".join(map(str, ids)))
        subprocess.run([self.program, path, row, out], check=True, stderr=subprocess.DEVNULL)
        z = np.fromfile(out, dtype=np.float32).reshape(len(ids), -1).astype(np.float64)
        p = np.exp(z - z.max(-1, keepdims=True))
        return p / p.sum(-1, keepdims=True)

    def encode(self, path, text):
        name = os.path.join(self.tmp, "text.txt")
        with open(name, "wb") as f:
            f.write(text.encode("utf-8"))
        out = subprocess.run([self.program, path, "--encode", name], check=True, stderr=subprocess.DEVNULL,
                             stdout=subprocess.PIPE, text=True).stdout
        return [int(x) for x in out.split("\n")[0].split()]


def gelu16(model):
    """GPT-2 with the GELU of ggml: argument and result are halves."""
    class Act(torch.nn.Module):
        def forward(self, x):
            y = torch.nn.functional.gelu(x.half().float(), approximate="tanh").half().float()
            return torch.where(x <= -10, torch.zeros_like(x), torch.where(x >= 10, x, y))
    model = copy.deepcopy(model)
    for block in model.transformer.h:
        block.mlp.act = Act()
    return model


def near(model, other, kind):
    """Is every weight of `other` that of `model`, rounded to the nearest step?"""
    theirs = dict(other.named_parameters())
    for name, p in model.named_parameters():
        a, b = p.detach().double(), theirs[name].detach().double()
        step = torch.zeros_like(a)
        if p.dim() > 1 and not name.endswith("wpe.weight"):
            if kind == "f16":
                step = a.abs() * 2.0 ** -10 + 2.0 ** -24
            if kind == "q8_0":          # a block runs along the input: GPT-2's Conv1D is (inputs, outputs)
                conv = ".c_" in name
                w = (a.T if conv else a).reshape(-1, 32)
                step = (w.abs().amax(-1, keepdim=True) / 127 * 1.1).expand_as(w).reshape(a.T.shape if conv else a.shape)
                step = step.T if conv else step
        if not bool(((a - b).abs() <= step / 2).all()):
            return False
    return True


def check_families(args, llama, tmp, wanted):
    """Mistral, Qwen3, SmolLM3, OLMo-2 and Phi-3, and frequencies that are stretched, as llama.cpp computes them; and
    what it does not compute: refused by name."""
    size = dict(num_hidden_layers=5, max_position_embeddings=128)
    tok = dict(mistral="tekken", qwen3="qwen2", smollm3="llama3re", olmo2="dolma2", phi3="spm")
    for seed, family in enumerate(tok):
        more = [("", dict(tie_word_embeddings=family in ("qwen3", "smollm3")))]
        if family == "mistral":
            more += [(" " + name, rope) for name, rope in families.STRETCHED.items()
                     if name not in ("yarn, not truncated", "yarn, all said")]
        if family in ("olmo2", "phi3"):
            more += [(" tied", dict(tie_word_embeddings=True)), (" grouped", dict(num_key_value_heads=1))]
        for option, own in more:
            if not wanted or family in wanted:
                folder = os.path.join(tmp, "family")
                check(family + option, make(folder, tok[family], family, seed, **{**size, **own}), args, llama, tmp,
                      ("f32", "q8_0"))
                shutil.rmtree(folder)
    biased = dict(attention_bias=True)
    if not wanted or "llama" in wanted:
        folder = os.path.join(tmp, "family")
        check("llama biases", make(folder, "digits", "llama", 9, **biased, mlp_bias=True), args, llama, tmp, ("f32",))
        shutil.rmtree(folder)
    for family, own, says in (("smollm3", dict(no_rope_layer_interval=2), "every fourth layer"),
                              ("smollm3", biased, "no biases"), ("qwen3", biased, "no biases"),
                              ("olmo2", biased, "no biases"),
                              ("mistral", families.STRETCHED["yarn, all said"], "between 2 and 8"),
                              ("mistral", families.STRETCHED["yarn, not truncated"], "model's is not and")):
        if not wanted or family in wanted:
            folder, path = os.path.join(tmp, "family"), os.path.join(tmp, "refused.gguf")
            make(folder, tok[family], family, 1, **{**size, **own})
            p = subprocess.run([args.convert, "--model", folder, "--out", path], capture_output=True, text=True)
            report(p.returncode == 1 and says in p.stderr and not os.path.exists(path),
                   f"{family}, {says}: refused: {p.stderr.splitlines()[-2] if p.returncode else 'no'}")
            shutil.rmtree(folder)


def check(name, folder, args, llama, tmp, kinds=("f32", "f16", "bf16", "q8_0")):
    model = AutoModelForCausalLM.from_pretrained(folder).float().eval()
    V = model.config.vocab_size
    rng = np.random.default_rng(5)
    ids = [int(x) for x in rng.integers(0, V, min(48, model.config.max_position_embeddings))]
    want = probabilities(model, ids)
    for kind in kinds:
        path = os.path.join(tmp, f"{name}-{kind}.gguf")
        subprocess.run([args.convert, "--model", folder, "--out", path, "--type", kind], check=True,
                       stderr=subprocess.DEVNULL)
        reader = gguf.GGUFReader(path)
        report(len(reader.tensors) >= len(list(model.named_parameters())), f"{name} {kind}: gguf reads "
               f"{len(reader.tensors)} tensors, {len(reader.fields)} keys")
        if kind != "bf16" and model.config.model_type in READS:         # which transformers' reader does not know
            # Its reader knows neither GPT-2's sizes nor a head size of its own nor stretched frequencies: say them.
            known = name in ("llama", "metaspace", "qwen2", "smollm2-shape") or name.startswith("folder")
            other = AutoModelForCausalLM.from_pretrained(tmp, gguf_file=os.path.basename(path), dtype=torch.float32,
                                                         **({} if known else {"config": model.config})).eval()
            error = np.abs(probabilities(other, ids) - want).max()
            report(error <= TOLERANCE[kind],
                   f"{name} {kind}: transformers' GGUF reader, |dp| {error:.1e} of {want.max():.2f}")
            report(near(model, other, kind), f"{name} {kind}: weights within half a step")
        if llama:
            error = np.abs(llama.probabilities(path, ids, V) - want).max()
            note = ""
            if name == "gpt2":
                note = f" with GELU in 16 bits, {error:.1e} without"
                error = np.abs(llama.probabilities(path, ids, V) - probabilities(gelu16(model), ids)).max()
            limit = max(TOLERANCE[kind], 5e-4 if note else 0)
            report(error <= limit, f"{name} {kind}: llama.cpp, |dp| {error:.1e}{note}")
        if llama and kind == "f32" and os.path.exists(os.path.join(folder, "cases.jsonl")):
            check_ids(name, path, folder, llama)
        os.remove(path)


def check_ids(name, path, folder, llama):
    good, bad = 0, []
    for line in open(os.path.join(folder, "cases.jsonl"), encoding="utf-8"):
        case = json.loads(line)
        if "text" not in case or "\0" in case["text"] or not case["text"]:
            continue
        got = llama.encode(path, case["text"])
        if got == case["ids"]:
            good += 1
        else:
            bad.append((case["text"], got, case["ids"]))
    print(f"     {name}: llama.cpp cuts {good} of {good + len(bad)} texts into our ids; others: "
          f"{[repr(b[0][:30]) for b in bad[:6]]}")


def check_speech(folder, path, convert):
    """A model of ours in a chat: greedy answers of llama.cpp from our GGUF, and of transformers from our folder."""
    subprocess.run([convert, "--model", folder, "--out", path, "--type", "f32"], check=True, stderr=subprocess.DEVNULL)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    tokenizer, llama, same = AutoTokenizer.from_pretrained(folder), peers.LlamaCpp(path), 0
    questions = [f"{who} likes {what}. What is it?" for who in peers.WHO for what in peers.WHAT[:2]]
    for q in questions:
        talk = [{"role": "user", "content": q}]
        ids = tokenizer.apply_chat_template(talk, add_generation_prompt=True, return_dict=False)
        new = model.generate(torch.tensor([ids]), do_sample=False, max_new_tokens=32)[0, len(ids):].tolist()
        same += llama.greedy(ids, 32, tokenizer.eos_token_id) == new
    report(same == len(questions), f"ours: {same} of {len(questions)} of llama.cpp's greedy answers are transformers'")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--convert", default="build/convert")
    parser.add_argument("--llama")
    parser.add_argument("--llama-build")
    parser.add_argument("--folder", nargs="*", default=[])
    parser.add_argument("--families", nargs="*", help="these alone (none: all), and nothing else")
    parser.add_argument("--big", action="store_true")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as tmp:
        llama = None
        if args.llama:
            llama = Llama(args.llama, args.llama_build or args.llama + "/build", tmp)
        elif not peers.missing("cyllama", "gguf_check.py: llama.cpp"):
            llama = Wheel()
        check_families(args, llama, tmp, args.families)
        if args.families is not None:
            peers.finish()
        stretched = dict(rope_type="llama3", rope_theta=10000.0, factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
                         original_max_position_embeddings=16)
        for name, tok, kind, more in (
                ("gpt2", "gpt2re", "gpt2", {}),
                ("llama", "digits", "llama", dict(tie_word_embeddings=True)),
                ("llama3", "llama3re", "llama", dict(rope_parameters=stretched, tie_word_embeddings=False)),
                ("llama2", "spm", "llama", dict(head_dim=32, num_key_value_heads=4)),
                ("metaspace", "spm-metaspace", "llama", dict(num_key_value_heads=1)),
                ("qwen2", "qwen2", "qwen2", dict(tie_word_embeddings=True))):
            check(name, make(os.path.join(tmp, name), tok, kind, 7, **more), args, llama, tmp)
        if isinstance(llama, Wheel):
            check_speech(peers.tiny_model(tmp), os.path.join(tmp, "ours.gguf"), args.convert)
        for i, folder in enumerate(args.folder):
            check(f"folder{i}", folder, args, llama, tmp)
        if args.big:
            big = dict(hidden_size=576, intermediate_size=1536, num_hidden_layers=30, num_attention_heads=9,
                       num_key_value_heads=3, tie_word_embeddings=True, rope_parameters=dict(rope_type="default",
                                                                                            rope_theta=100000.0))
            check("smollm2-shape", make(os.path.join(tmp, "big"), "digits", "llama", 7, **big), args, llama, tmp)
    peers.finish()


main()
