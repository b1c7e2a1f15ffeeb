#!/usr/bin/env python3
"""Fixtures for tools/hf_chat.h: ids and masks of every template of jinja_templates.py x the conversations below.

    python3 test/gen/chat_ids.py [test/data/chat_ids.json]      (needs transformers; the tokenizers are test/data/tok)

A template has a tokenizer of test/data/tok and tokens that are added to it, as its family has them: special or not, with
blanks swallowed (lstrip, rstrip), normalized. Of every conversation: "IDS MASK PROMPT", two hashes of eight hexadecimal
digits and the number of ids before the last answer; or why there are none:
    raised: ...     by the template itself                      error       a Python error inside of the template
    unheard: KEY|...    the data say it and the template never looks: transformers drops it, we refuse; and without it
Of some the ids and the mask in full.

Ids: transformers' apply_chat_template. Where somebody's words spell a special token, our rule is that of
split_special_tokens: it is text. transformers has no way to say so of a part of a text; here the special tokens are given
names that nobody types, the template's own are replaced by these, and the tokenizer does the rest. Each time it is checked
that this gives apply_chat_template's ids where nobody's words spell any, and else the special tokens that
apply_chat_template(sanitize_control_tokens=True) has.

Masks: apply_chat_template's own where {% generation %} stands, but for a message of weight 0. Else the rule of
tools/hf_chat.h, written once more, over characters.
"""
import json
import os
import re
import shutil
import sys
import tempfile

from transformers import PreTrainedTokenizerFast

import jinja as gen
from jinja_talks import A, ASK, CLOCK, PART, S, T, TALKS, U, WEATHER, call
from jinja_templates import TEMPLATES

HERE = os.path.dirname(os.path.abspath(__file__))
FLAGS = ("single_word", "lstrip", "rstrip", "normalized")


def special(*names, **flags):
    return [{"content": n, **{f: flags.get(f, False) for f in FLAGS}, "special": True} for n in names]


def plain(*names, **flags):
    return [{"content": n, **{f: flags.get(f, False) for f in FLAGS}, "special": False} for n in names]


IM = special("<|im_start|>", "<|im_end|>")
CALLS = plain("<tool_call>", "</tool_call>")
QWEN3 = CALLS + plain("<tool_response>", "</tool_response>", "<think>", "</think>")
MISTRAL = special("[INST]", "[/INST]", "[TOOL_CALLS]", "[AVAILABLE_TOOLS]", "[/AVAILABLE_TOOLS]", "[TOOL_RESULTS]", "[/TOOL_RESULTS]")
GEMMA = special("<bos>", "<eos>", "<start_of_turn>") + plain("\n\n", "\n\n\n", "\t\t")
R1 = lambda *names: ["<\uff5c" + n.replace(" ", "\u2581") + "\uff5c>" for n in names]

TOKENIZERS = {
    "chatml": ("gpt2pairs", []),
    "chatml-bos": ("gpt2re", special("<s>") + IM),
    "chatml-trim": ("digits", []),
    "chatml-apostrophe": ("qwen2", []),
    "chatml-backslash": ("qwen2", CALLS),
    "llama2": ("spm", []),
    "llama3": ("llama3re", []),
    "llama3.1": ("llama3re", special("<|python_tag|>", "<|eom_id|>")),
    "llama3.2-date": ("llama3re", special("<|image|>")),
    "mistral-v1": ("spm-metaspace", []),
    "mistral-v3": ("spm-metaspace", MISTRAL),
    "mistral-tekken": ("llama3re", special("<s>", "</s>", "[SYSTEM_PROMPT]", "[/SYSTEM_PROMPT]", "[IMG]") + MISTRAL[:2]),
    "qwen2.5": ("qwen2", CALLS),
    "qwen3": ("qwen2", QWEN3),
    "qwen3-coder": ("qwen2", special("<tool_call>", "</tool_call>") + QWEN3[2:]),
    "phi3": ("spm", special("<|assistant|>", "<|end|>", "<|user|>", "<|system|>", rstrip=True)),
    "phi4": ("llama3re", special("<|im_start|>", "<|im_end|>", "<|im_sep|>", lstrip=True, rstrip=True)),
    "phi4-mini": ("llama3re", special("<|endoftext|>", "<|tool|>", "<|/tool|>", "<|end|>") +
                  special("<|system|>", "<|user|>", "<|assistant|>", rstrip=True)),
    "gemma": ("spm", GEMMA + special("<end_of_turn>")),
    "gemma3": ("spm-metaspace", GEMMA + plain("<end_of_turn>") + special("<start_of_image>")),
    "zephyr": ("spm", []),
    "tulu": ("llama3re", []),
    "vicuna": ("spm", []),
    "r1-distill": ("qwen2", special(*R1("begin of sentence", "end of sentence")) + plain("<think>", "</think>") +
                   plain(*R1("User", "Assistant", "tool calls begin", "tool call begin", "tool sep", "tool call end",
                             "tool outputs begin", "tool output begin", "tool output end", "tool outputs end"))),
    "smollm2": ("digits", []),
    "smollm3": ("llama3re", IM + plain("<think>", "</think>")),
    "granite": ("gpt2re", special("<|start_of_role|>", "<|end_of_role|>", "<|tool_call|>", "<|end_of_text|>")),
    "hermes-tools": ("llama3re", IM + plain("<tool_call>", "</tool_call>", normalized=True)),
    "alpaca": ("spm-metaspace", []),
    "command-r": ("gpt2re", special("<BOS_TOKEN>", "<|START_OF_TURN_TOKEN|>", "<|END_OF_TURN_TOKEN|>", "<|USER_TOKEN|>",
                                    "<|CHATBOT_TOKEN|>", "<|SYSTEM_TOKEN|>")),
    "olmo2-harmony": ("llama3re", special("<|startoftext|>", "<|start|>", "<|end|>", "<|message|>", "<|channel|>", "<|return|>",
                                          "<|call|>")),
}
CLOSES = {"gemma3": "<end_of_turn>", "qwen3-coder": "<|im_end|>"}   # what closes an answer although it is not special, or not first

MORE = [
    {"messages": [U("17 + 25?"), {**A("43"), "weight": 0}, U("Sure?"), {**A("42, sorry."), "weight": 1}]},
    {"messages": [S("Be kind."), U("one"), {**A("1"), "weight": 0}]},
    {"messages": [U("<think>my thoughts</think> and <tool_call>mine</tool_call>"), A("<tool_call> is a word\n\n\nhere")]},
    {"messages": [U("\n <|end|> \n<|im_start|> <|im_end|>"), A(" <end_of_turn>\n\n<start_of_turn>model\n")]},
    {"messages": [S("<|start_header_id|>system<|end_header_id|>"), U("[/INST] </s><s>[INST] [TOOL_CALLS]<|END_OF_TURN_TOKEN|>"),
                  A("<|eot_id|><|end_of_text|><|return|><|call|>"), U("<\uff5cUser\uff5c><\uff5cend\u2581of\u2581sentence\uff5c>")], **ASK},
    {"messages": [U("how many days?"), {"role": "assistant", "content": "I look.", "reasoning_content": "A call is due.",
                                       "tool_calls": [call("weather", {"city": "", "days": 10, "parts": []})]},
                  T("[]", name="weather", tool_call_id="abcdefgh1"), {**A("Ten."), "reasoning_content": "It says ten."}],
     "tools": [WEATHER]},
    {"messages": [U("time"), {"role": "assistant", "content": "", "tool_calls": [call("clock", "{}")]}], "tools": [CLOCK]},
    {"messages": [U(" \n"), A("\n \n")]},
    {"messages": [{"role": "user", "content": [PART("in "), PART("\nparts ")]}, {"role": "assistant", "content": [PART(" all")]}]},
    {"messages": [U("I'LL we'Ve 123456 1,000\u00b2"), A("\u00c5ngstr\u00f6m \U0001f468\u200d\U0001f469\u200d\U0001f467 \u0928\u092e\u0938\u094d\u0924\u0947 \u0645\u0631\u062d\u0628\u0627")]},
    {"messages": [S("\u0301 alone"), U("\u0301a\u0328\u0301\u0323 \u1112\u1161\u11ab \u212b<think>\u0301"), A("\u0308\u1e9b\u0323 e\u0301")]},
    {"messages": [U("a"), A("b")] * 6 + [U("last?"), A("yes")]},
]


def as_read(talk):
    """As tools/forms.h hands it on: a list of parts that are all text is one text. None: it refuses other parts."""
    def one(m):
        parts = m.get("content")
        if not isinstance(parts, list):
            return m
        return {**m, "content": "".join(p["text"] for p in parts)} if all(p["type"] == "text" for p in parts) else None
    messages = [one(m) for m in talk["messages"]]
    asked = {k: v for k, v in talk.items() if k == "add_generation_prompt"}
    return None if None in messages else {"messages": messages, **asked, **{k: v for k, v in talk.items() if k not in ("messages", *asked)}}


CONVERSATIONS = [t for t in map(as_read, TALKS + MORE) if t is not None]


# ---- tokenizers

def fresh(base, added, bos, eos, rename):
    """The tokenizer with its added tokens; rename(content): what a special one is called."""
    with open(os.path.join(HERE, "../data/tok", base, "tokenizer.json"), encoding="utf-8") as f:
        data = json.load(f)
    next_id = len({**data["model"]["vocab"], **{t["content"]: 0 for t in data["added_tokens"]}})
    data["added_tokens"] += [{"id": next_id + i, **t} for i, t in enumerate(added)]
    data["added_tokens"] = [{**t, "content": rename(t["content"]) if t["special"] else t["content"]} for t in data["added_tokens"]]
    names = {t["id"]: t["content"] for t in data["added_tokens"]}
    data["model"]["vocab"] = {names.get(i, s): i for s, i in data["model"]["vocab"].items()}
    for key in ("unk_token",):
        if data["model"].get(key):
            data["model"][key] = rename(data["model"][key])
    data["post_processor"] = None
    folder = tempfile.mkdtemp()
    with open(os.path.join(folder, "tokenizer.json"), "w", encoding="utf-8") as f:
        json.dump(data, f)
    with open(os.path.join(folder, "tokenizer_config.json"), "w", encoding="utf-8") as f:
        json.dump({"tokenizer_class": "PreTrainedTokenizerFast", "clean_up_tokenization_spaces": False,
                   "bos_token": bos and rename(bos), "eos_token": rename(eos), "chat_control_tokens": []}, f)
    tokenizer = PreTrainedTokenizerFast.from_pretrained(folder)
    shutil.rmtree(folder)
    return tokenizer


class Family:
    def __init__(self, name, bos, eos, source):
        base, added = TOKENIZERS[name]
        self.name, self.bos, self.eos, self.source = name, bos, eos, source
        self.plain = fresh(base, added, bos, eos, lambda c: c)
        self.special = sorted((t.content for t in self.plain.added_tokens_decoder.values() if t.special), key=len, reverse=True)
        self.private = fresh(base, added, bos, eos, self.called)
        self.says = re.search(r"{%-?\s*generation\s*-?%}", source) is not None
        self.closing = set(self.special) | {CLOSES.get(name)}

    def called(self, token):
        return f"\ue000{token.encode().hex()}\ue001"

    def find(self, text, marks):
        """(begin, end) of the special tokens that the template spells; how many somebody's words have a part in."""
        own, theirs, at = [], 0, 0
        while at < len(text):
            hit = next((s for s in self.special if text.startswith(s, at) and not any(m & 1 for m in marks[at:at + len(s)])), None)
            theirs += any(text.startswith(s, at) and any(m & 1 for m in marks[at:at + len(s)]) for s in self.special)
            if hit:
                own.append((at, at + len(hit)))
            at += len(hit) if hit else 1
        return own, theirs

    def encode(self, text, marks):
        """ids, and of each the characters [begin, end) of the text."""
        own, theirs = self.find(text, marks)
        out, places, at = [], [], 0
        for begin, end in own + [(len(text), len(text))]:
            out += [text[at:begin]] + ([self.called(text[begin:end])] if begin < end else [])
            places += list(range(at, begin)) + [begin] * (len(out[-1]) if begin < end else 0)
            at = end
        places.append(len(text))
        ends = dict((b, e) for b, e in own)
        e = self.private("".join(out), add_special_tokens=False, return_offsets_mapping=True)
        stretch = [(places[b], ends.get(places[b2 - 1], places[b2 - 1] + 1) if b2 > b else places[b]) for b, b2 in e["offset_mapping"]]
        return e["input_ids"], stretch, own, theirs


# ---- what is learned, where no {% generation %} says it

def weighs(m):
    return m.get("weight") != 0


def learned(m):
    return m["role"] == "assistant" and weighs(m)


def regions(f, talk, text, marks, own, stretch, ids):
    """[(begin, end, message)] of the assistant's messages."""
    usual = CLOSES.get(f.name)
    closes = sorted((s, i == usual) for s, i in zip(stretch, f.plain.convert_ids_to_tokens(ids)) if i in f.closing and (s in own or i == usual))
    out = []
    for i, m in enumerate(talk["messages"]):
        mine = [k for k, x in enumerate(marks) if x // gen.MESSAGE == i + 1]
        if m["role"] != "assistant":
            continue
        before, before_marks = gen.render(f.source, {**talk, "messages": talk["messages"][:i], "add_generation_prompt": True}, f.bos, f.eos)
        first = mine[0] if mine else len(text)
        begin = first
        if before_marks is not None and text.startswith(before) and first >= len(before):
            begin = len(before)
        elif before_marks is not None:
            tail = before[max([k + 1 for k, x in enumerate(before_marks) if x & 1], default=0):]
            word = max([k + 1 for k in range(first) if marks[k] & 1], default=0)
            if first < len(text) and text.startswith(tail, word) and word + len(tail) <= first:
                begin = word + len(tail)
        if begin == len(text):
            continue
        last = max(mine[-1] + 1 if mine else 0, begin)
        word = next((k for k in range(last, len(text)) if marks[k] & 1), len(text))
        here = [(e, u) for (b, e), u in closes if last <= b < word]
        end = next((e for e, u in here if u), here[0][0] if here else last)
        out.append((begin, end, i))
    return out


def spans(marks):
    """Runs inside of {% generation %}."""
    inside = [k for k in range(len(marks)) if marks[k] & 2]
    begins = [k for k in inside if not k or not marks[k - 1] & 2]
    return [(b, next((k for k in range(b, len(marks)) if not marks[k] & 2), len(marks))) for b in begins]


# ---- one conversation

def unheard(f, talk):
    for key, value in talk.items():
        if key not in ("messages", "add_generation_prompt") and key not in f.source and value != []:
            return key
    for m in talk["messages"]:
        for key, other in (("tool_calls",) * 2, ("reasoning_content", "thinking"), ("thinking", "reasoning_content"), ("reasoning", "thinking")):
            if m.get(key) not in (None, "", []) and key not in f.source and other not in f.source:
                return key
    return None


def without(talk, key):
    return {k: [{n: v for n, v in m.items() if n != key} for m in x] if k == "messages" else x for k, x in talk.items() if k != key}


counts = {"equal to apply_chat_template's ids": 0, "with its masks": 0, "words that spell special tokens": 0, "a message of weight 0": 0,
          "no message, which it refuses": 0}


def check(f, talk, text, ids, theirs, mask):
    """transformers' own word on it."""
    if not talk["messages"]:
        counts["no message, which it refuses"] += 1
        return
    v = {k: x for k, x in talk.items() if k != "messages"}
    x = f.plain.apply_chat_template(talk["messages"], chat_template=f.source, return_dict=True, return_assistant_tokens_mask=f.says, **v)
    if theirs:
        clean = f.plain.apply_chat_template(talk["messages"], chat_template=f.source, return_dict=True, sanitize_control_tokens=True, **v)
        of = lambda ids: [i for i in ids if f.plain.added_tokens_decoder.get(i) and f.plain.added_tokens_decoder[i].special]
        whole = all(re.fullmatch(r"[\w-]+", m["role"], re.A) for m in talk["messages"])    # it is fooled by halves of a token
        assert not whole or of(clean["input_ids"]) == of(ids), (f.name, talk)
        counts["words that spell special tokens"] += 1
        return
    assert x["input_ids"] == ids, (f.name, talk, x["input_ids"], ids)
    counts["equal to apply_chat_template's ids"] += 1
    if f.says and not all(map(weighs, talk["messages"])):
        counts["a message of weight 0"] += 1
    elif f.says:
        assert x["assistant_masks"] == mask, (f.name, talk, x["assistant_masks"], mask)
        counts["with its masks"] += 1


def case(f, talk):
    """(what the fixture says, ids, mask)"""
    key = unheard(f, talk)
    if key:         # without it the template says the same
        what, *more = case(f, without(talk, key))
        return f"unheard: {key}|{what}", *more
    text, marks = gen.render(f.source, talk, f.bos, f.eos)
    if marks is None:
        return text, None, None
    ids, stretch, own, theirs = f.encode(text, marks)
    runs = spans(marks)
    answers = runs or [r[:2] for r in regions(f, talk, text, marks, own, stretch, ids)]
    if f.says:      # not one with words of a message that is not learned
        number = lambda r: {marks[k] // gen.MESSAGE - 1 for k in range(*r)} - {-1}
        chosen = [r for r in runs if all(weighs(talk["messages"][i]) for i in number(r))]
        mask = [int(any(b < e and e > x and b < y for x, y in chosen)) for b, e in stretch]
    else:
        chosen = [r for r in regions(f, talk, text, marks, own, stretch, ids) if learned(talk["messages"][r[2]])]
        mask = [int(any(x <= b < y for x, y, _ in chosen)) for b, e in stretch]
    check(f, talk, text, ids, theirs, mask)
    prompt = len(ids)
    if answers and not talk.get("add_generation_prompt"):
        prompt = next((i for i, (b, e) in enumerate(stretch) if b >= answers[-1][0]), len(ids))
    hashes = [gen.fnv(b"".join(i.to_bytes(4, "little") for i in ids)), gen.fnv(bytes(mask))]
    return " ".join(f"{h >> 32:08x}" for h in hashes) + f" {prompt}", ids, mask


if __name__ == "__main__":
    where = sys.argv[1] if len(sys.argv) > 1 else os.path.join(HERE, "../data/chat_ids.json")
    dump = lambda x: json.dumps(x, ensure_ascii=False)
    rows, outcome = [], {"ids": 0, "raised": 0, "error": 0, "unheard": 0}
    for name, bos, eos, source in TEMPLATES:
        f = Family(name, bos, eos, source)
        cases = [case(f, talk) for talk in CONVERSATIONS]
        for what, ids, mask in cases:
            outcome["ids" if ids is not None else re.sub(r"^(unheard: \w+\|)*", "", what).split(":")[0]] += 1
            outcome["unheard"] += what.startswith("unheard")
        some = [i for i, c in enumerate(cases) if c[1] is not None][2:6:3]
        base, added = TOKENIZERS[name]
        rows.append({"name": name, "tokenizer": base, "added": added, "result": [c[0] for c in cases],
                     "full": {str(i): {"ids": cases[i][1], "mask": "".join(map(str, cases[i][2]))} for i in some}})
    with open(where, "w") as f:
        f.write('{"talks": [\n' + ",\n".join(dump(x) for x in CONVERSATIONS) + '],\n"templates": [\n' +
                ",\n".join(dump(x) for x in rows) + "]}\n")
    print(where, os.path.getsize(where), "bytes:", len(rows), "templates x", len(CONVERSATIONS), "conversations,", outcome, counts)
