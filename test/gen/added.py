#!/usr/bin/env python3
"""Added tokens in text, as the `tokenizers` library finds them: writes test/data/tok/added.jsonl.

    python3 test/gen/added.py [test/data/tok]           (needs tokenizers)
    python3 test/gen/added.py --try DIR SEED ROUNDS      more of them, on standard output

A line is a tokenizer of test/data/tok with more added tokens, of every mixture of lstrip, rstrip, single_word,
normalized and special, and texts made of these, of their parts, and of what stands between:
    base, head          the folder; what its tokenizer.json has in the place of its own members of these names
    texts               [text, ids, special, at]: ids with special tokens as plain text; ids with all of them; where the
                        latter begin, in bytes (the character that a part of one belongs to)
The last rows ask for NFC: their texts are taken apart in part, and where ids begin is left out (null) if NFC changes
the text. Left out: other texts that it changes, special tokens that merges make too (ours make none).
"""
import json
import os
import random
import sys
import unicodedata

from tokenizers import Tokenizer

PARTS = ["foo", "<think>", "</think>", " B", "A", "LL", "myw", "my", "yw", "<|x|>", "<|x", "\n\n", "\n", "  ", " ", "é",
         "word", "_", "1", "²", "Ⓐ", "\u3000", "\u00a0", "Hello", "<b>", "</b>", "<|im_end|>", "|>", "<", "▁", "foo bar",
         "你好", "\U00010d64", "-", ".", "don't", "\u200d", "oo", "e\u0301"]
ACCENTS = ["e", "\u0301", "\u0323", "o\u0308", "A\u030a", "\u1112\u1161", "\u11ab", "\u212b", "\u0958", "\U0001d160", "\u1ec7",
           "\ufb1d", "\u0338", "\u0345\u0334", "\u0915\u093c"]
METASPACE = [{"prepend_scheme": "always"}, {"prepend_scheme": "always", "split": True}, {"prepend_scheme": "never"},
             {"prepend_scheme": "first", "split": True}]


def more_tokens(r, data, parts):
    vocab = data["model"]["vocab"]
    free = max([*vocab.values(), *(a["id"] for a in data["added_tokens"])]) + 1
    have = {a["content"] for a in data["added_tokens"]}
    added = []
    for _ in range(r.randint(1, 6)):
        text = "".join(r.choice(parts) for _ in range(r.choice([1, 1, 1, 2])))
        special = r.random() < 0.4 and text not in vocab and text.replace(" ", "▁") not in vocab
        if text in have or len(text.encode()) < 2 or (parts is PARTS and "\u0301" in text):
            continue
        have.add(text)
        token = {"id": vocab.get(text, free), "content": text}
        free += text not in vocab
        token.update({key: r.random() < 0.3 for key in ("single_word", "lstrip", "rstrip")})
        added.append({**token, "normalized": r.random() < 0.5, "special": special})
    return added


def texts_of(r, t, have, count, parts):
    rows = []
    while len(rows) < count:
        text = "".join(r.choice(parts + have) for _ in range(r.randint(0, 9)))
        changed = unicodedata.normalize("NFC", text) != text
        if changed and parts is PARTS:
            continue
        place = [0]
        for c in text:
            place.append(place[-1] + len(c.encode()))
        t.encode_special_tokens = True
        ids = t.encode(text, add_special_tokens=False).ids
        t.encode_special_tokens = False
        e = t.encode(text, add_special_tokens=False)
        rows.append([text, ids, e.ids, None if changed else [place[begin] for begin, _ in e.offsets]])
    return rows


def row(r, root, base, pre, count, nfc=False):
    with open(os.path.join(root, base, "tokenizer.json"), encoding="utf-8") as f:
        data = json.load(f)
    parts = PARTS + 2 * ACCENTS if nfc else PARTS
    head = {"added_tokens": data["added_tokens"] + more_tokens(r, data, parts)}
    if pre:
        head["pre_tokenizer"] = {**data["pre_tokenizer"], **pre}
    if nfc:
        steps = (data["normalizer"] or {}).get("normalizers", [])
        steps.insert(r.randint(0, len(steps)), {"type": "NFC"})
        head["normalizer"] = {"type": "Sequence", "normalizers": steps} if r.random() < 0.5 or steps[1:] else steps[0]
    data.update(head)
    t = Tokenizer.from_str(json.dumps(data))
    line = {"base": base, "head": json.dumps(head, ensure_ascii=False)[1:-1],
            "texts": texts_of(r, t, [a["content"] for a in data["added_tokens"]], count, parts)}
    return json.dumps(line, ensure_ascii=False, separators=(",", ":"))


def rows(r, root, rounds, count, rounds_nfc):
    for base in ("gpt2re", "digits", "llama3re", "qwen2", "spm", "spm-metaspace"):
        for _ in range(rounds):
            yield row(r, root, base, None, count)
    for pre in METASPACE:
        for _ in range(rounds):
            yield row(r, root, "spm-metaspace", pre, count)
    for base in ("gpt2re", "digits", "llama3re", "qwen2", "spm", "spm-metaspace"):
        for _ in range(rounds_nfc):
            yield row(r, root, base, METASPACE[1] if base == "spm-metaspace" and r.random() < 0.5 else None, count, True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--try"]:
        for line in rows(random.Random(int(sys.argv[3])), sys.argv[2], int(sys.argv[4]), 60, 2 * int(sys.argv[4])):
            print(line)
    else:
        root = sys.argv[1] if len(sys.argv) > 1 else "test/data/tok"
        with open(os.path.join(root, "added.jsonl"), "w", encoding="utf-8") as f:
            for line in rows(random.Random(1), root, 4, 16, 2):
                f.write(line + "\n")
