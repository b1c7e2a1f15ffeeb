#!/usr/bin/env python3
"""Log-likelihoods of endings as transformers computes them, in float64, for tools/eval.

    python3 test/gen/eval.py        (needs torch, transformers, tokenizers; reads test/data/eval and test/data/models)

Writes test/data/eval/expected.csv: model, file, line, ending, log p(ending | prompt), its tokens. The layouts are read
here by code of their own: <|endoftext|>, prompt and ending are encoded as one text; the ending is what goes beyond the
encoded prompt; a text longer than the context loses its beginning.
"""
import json
import os
import re

import torch
from tokenizers import Tokenizer
from transformers import AutoModelForCausalLM

HERE = os.path.join(os.path.dirname(__file__), "..", "data")


def rows(name):
    with open(os.path.join(HERE, "eval", name), encoding="utf8") as f:
        for number, line in enumerate(f, 1):
            o = json.loads(line)
            if "endings" in o:
                text = o.get("ctx", o["ctx_a"] + " " + o.get("ctx_b", ""))
                text = re.sub(" +", " ", re.sub(r"\[.*?\]", "", text.replace(" [title]", ".")))
                yield number, o["activity_label"] + ": " + text, [" " + e for e in o["endings"]]
            elif "answerKey" in o:
                q = o["question"]
                texts = [c["text"] for c in q["choices"]] if isinstance(q, dict) else o["choices"]["text"]
                stem = q["stem"] if isinstance(q, dict) else q
                yield number, "Question: " + stem + "\nAnswer:", [" " + t for t in texts]
            else:
                yield number, o["prompt"], o["choices"]


with open(os.path.join(HERE, "eval", "expected.csv"), "w") as out:
    out.write("model,file,line,ending,logp,tokens\n")
    for name in ("gpt2-tiny", "llama-tiny"):
        folder = os.path.join(HERE, "models", name)
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float64, attn_implementation="eager").eval()
        tok = Tokenizer.from_file(os.path.join(folder, "tokenizer.json"))
        T = model.config.max_position_embeddings
        bos = [tok.token_to_id("<|endoftext|>")]
        for file in ("hellaswag.jsonl", "arc.jsonl", "choice.jsonl"):
            for number, prompt, endings in rows(file):
                head = len(bos + tok.encode(prompt, add_special_tokens=False).ids)
                for i, ending in enumerate(endings):
                    ids = bos + tok.encode(prompt + ending, add_special_tokens=False).ids
                    n = len(ids) - head
                    ids = ids[-(T + 1):]
                    with torch.no_grad():
                        logp = torch.log_softmax(model(torch.tensor([ids[:-1]])).logits[0], -1)
                    total = sum(logp[t - 1, ids[t]].item() for t in range(len(ids) - n, len(ids)))
                    out.write(f"{name},{file},{number},{i},{total:.10g},{n}\n")
