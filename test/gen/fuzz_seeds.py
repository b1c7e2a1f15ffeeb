#!/usr/bin/env python3
"""Small good files for the fuzz targets to start from, one folder a target.     python3 test/gen/fuzz_seeds.py OUT

Without these libFuzzer would need hours to invent a tokenizer.json. Standard library only; everything is our own text.
"""
import json
import os
import struct
import sys

OUT = sys.argv[1]


def put(target, name, data):
    folder = os.path.join(OUT, target)
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, name), "wb") as f:
        f.write(data if isinstance(data, bytes) else data.encode("utf-8"))


def j(x):
    return json.dumps(x, ensure_ascii=False)


def spelled(b):
    """A byte as GPT-2's family writes it."""
    if 33 <= b <= 126 or 161 <= b <= 172 or b >= 174:
        return chr(b)
    return chr(256 + (b if b < 33 else b - 127 + 33 if b < 161 else 67))


def tokenizers():
    letters = {spelled(b): b for b in range(256)}
    merges = ["t h", "th e", "Ġ c", "Ġc a"]
    vocab = {**letters, "th": 256, "the": 257, "Ġc": 258, "Ġca": 259}
    added = [{"id": 260, "content": "<|endoftext|>", "special": True}, {"id": 261, "content": "<|im_end|>", "special": True}]
    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    digits = {"type": "Sequence", "pretokenizers": [{"type": "Digits", "individual_digits": True}, level]}
    llama3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
              r"|\s+(?!\S)|\s+")
    split = lambda r: {"type": "Sequence", "pretokenizers": [
        {"type": "Split", "pattern": {"Regex": r}, "behavior": "Isolated", "invert": False}, {**level, "use_regex": False}]}
    bpe = {"type": "BPE", "vocab": vocab, "merges": merges}
    put("tokenizer", "gpt2", j({"added_tokens": added, "pre_tokenizer": level, "model": bpe}))
    put("tokenizer", "digits", j({"added_tokens": added, "pre_tokenizer": digits,
                                  "model": {**bpe, "merges": [m.split() for m in merges]}}))
    put("tokenizer", "llama3", j({"pre_tokenizer": split(llama3), "model": {**bpe, "ignore_merges": True}}))
    put("tokenizer", "qwen2", j({"normalizer": {"type": "NFC"}, "pre_tokenizer": split(llama3.replace("{1,3}", "")),
                                 "model": bpe}))
    spm = {"<unk>": 0, "<s>": 1, "</s>": 2, **{f"<0x{b:02X}>": b + 3 for b in range(256)}, "▁": 259, "t": 260, "h": 261,
           "▁t": 262, "▁th": 263}
    put("tokenizer", "spm", j({
        "normalizer": {"type": "Sequence", "normalizers": [
            {"type": "Prepend", "prepend": "▁"}, {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}]},
        "model": {"type": "BPE", "byte_fallback": True, "unk_token": "<unk>", "vocab": spm, "merges": ["▁ t", "▁t h"]}}))
    small = {"pre_tokenizer": level, "model": {"type": "BPE", "vocab": {"a": 0, "b": 1, "ab": 2}, "merges": ["a b"]},
             "added_tokens": [{"id": 3, "content": "<x>"}]}
    put("tokenizer", "small", j(small))
    put("nfc", "marks", "cafe\u0301 A\u0345\u0334\u030a\u00f6\u0323 \u1112\u1161\u11ab\uac00\u11a8 \u0958\U0001d160\u212b\U00016d63\U00016d68")


def safetensors(entries, data, pad=0):
    header = j(entries).encode() + b" " * pad
    return struct.pack("<Q", len(header)) + header + data


def tensors():
    put("safetensors", "two", safetensors({"__metadata__": {"format": "pt"},
                                           "a": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]},
                                           "b": {"dtype": "BF16", "shape": [4], "data_offsets": [24, 32]}}, bytes(32), 5))
    put("safetensors", "kinds", safetensors({
        "h": {"dtype": "F16", "shape": [2], "data_offsets": [0, 4]}, "i": {"dtype": "I8", "shape": [], "data_offsets": [4, 5]},
        "z": {"dtype": "F64", "shape": [0, 7], "data_offsets": [5, 5]},
        "q": {"dtype": "F4", "shape": [2], "data_offsets": [5, 6]}}, bytes(range(6))))
    put("safetensors", "empty", safetensors({}, b""))


def gguf(keys, tensors, version=3, align=32):
    """keys: (name, type, packed value); tensors: (name, sizes, type, bytes)."""
    text = lambda s: struct.pack("<Q", len(s.encode())) + s.encode()
    out = b"GGUF" + struct.pack("<IQQ", version, len(tensors), len(keys))
    for name, kind, value in keys:
        out += text(name) + struct.pack("<I", kind) + value
    place = 0
    for name, sizes, kind, numbers in tensors:
        out += text(name) + struct.pack(f"<I{len(sizes)}QIQ", len(sizes), *sizes, kind, place)
        place += (len(numbers) + align - 1) // align * align
    out += bytes(-len(out) % align)
    for _, _, _, numbers in tensors:
        out += numbers + bytes(-len(numbers) % align)
    return out


def gguf_files():
    text = lambda s: struct.pack("<Q", len(s.encode())) + s.encode()
    u32 = lambda name, x: (name, 4, struct.pack("<I", x))
    f32 = lambda name, x: (name, 6, struct.pack("<f", x))
    word = lambda name, s: (name, 8, text(s))
    words = lambda name, list: (name, 9, struct.pack("<IQ", 8, len(list)) + b"".join(text(s) for s in list))
    ints = lambda name, list: (name, 9, struct.pack(f"<IQ{len(list)}i", 5, len(list), *list))
    floats = lambda name, list: (name, 9, struct.pack(f"<IQ{len(list)}f", 6, len(list), *list))
    size = {0: (1, 4), 1: (1, 2), 2: (32, 18), 3: (32, 20), 8: (32, 34), 30: (1, 2)}

    def tensor(name, kind, *sizes):
        n = 1
        for s in sizes:
            n *= s
        return name, sizes, kind, bytes(7 * i % 60 for i in range(n // size[kind][0] * size[kind][1]))

    def llama(kind, V, C, H, F, embedding, norm=0):
        yield tensor("token_embd.weight", embedding, C, V)
        for name, rows, cols in (("attn_q", C, C), ("attn_k", C, C), ("attn_v", C, C), ("attn_output", C, C),
                                 ("ffn_gate", F, C), ("ffn_up", F, C), ("ffn_down", C, F)):
            yield tensor(f"blk.0.{name}.weight", kind, cols, rows)
        for name in ("blk.0.attn_norm", "blk.0.ffn_norm", "output_norm"):
            yield tensor(name + ".weight", norm, C)

    def keys(C, H, F, kv):
        return [word("general.architecture", "llama"), u32("llama.context_length", 8), u32("llama.embedding_length", C),
                u32("llama.block_count", 1), u32("llama.feed_forward_length", F), u32("llama.attention.head_count", H),
                u32("llama.attention.head_count_kv", H), f32("llama.attention.layer_norm_rms_epsilon", 1e-5)] + kv

    letters = ["t", "h", "e", "\u0120", "th", "the", "\u0120c", "c", "a", "<|im_end|>", "<x>", "[PAD11]"]
    bpe = [word("tokenizer.ggml.model", "gpt2"), word("tokenizer.ggml.pre", "smollm"),
           words("tokenizer.ggml.tokens", letters), ints("tokenizer.ggml.token_type", [1] * 9 + [3, 4, 5]),
           words("tokenizer.ggml.merges", ["t h", "th e", "\u0120 c"]), u32("tokenizer.ggml.eos_token_id", 9),
           u32("tokenizer.ggml.bos_token_id", 9), ("tokenizer.ggml.add_bos_token", 7, b"\1"),
           word("tokenizer.chat_template", "{% for m in messages %}{{ m.content }}{% endfor %}")]
    pieces = ["<unk>", "<s>", "</s>"] + [f"<0x{b:02X}>" for b in range(256)] + ["\u2581", "t", "\u2581t"]
    spm = [word("tokenizer.ggml.model", "llama"), words("tokenizer.ggml.tokens", pieces),
           ("tokenizer.ggml.token_type", 9, struct.pack("<IQ262b", 1, 262, 2, 3, 3, *[6] * 256, *[1] * 3)),
           floats("tokenizer.ggml.scores", [0] * 259 + [-2, -2, -1]), u32("tokenizer.ggml.bos_token_id", 1)]
    for end in range(2):                # the last byte says what fuzz.c reads
        for kind, name in ((2, "q4_0"), (3, "q4_1")):
            put("gguf", f"{name}_{end}", gguf(keys(32, 2, 32, bpe), list(llama(kind, 12, 32, 2, 32, 8))) + bytes([end]))
        scaled = [word("llama.rope.scaling.type", "linear"), f32("llama.rope.scaling.factor", 2)]
        put("gguf", f"scaled_{end}", gguf(keys(4, 1, 4, scaled + bpe), list(llama(30, 12, 4, 1, 4, 0)), 2) + bytes([end]))
        put("gguf", f"spm_{end}", gguf(keys(2, 1, 2, [u32("general.alignment", 8)] + spm), list(llama(1, 262, 2, 1, 2, 1)) +
                                       [("rope_freqs.weight", (1,), 0, struct.pack("<f", 1))], align=8) + bytes([end]))


def data():
    user, bot = {"role": "user", "content": "2+3?"}, {"role": "assistant", "content": "5"}
    rows = [
        {"instruction": "Say", "input": "hi", "output": "hi", "system": "be kind", "history": [["a", "b"]]},
        {"instruction": "Say", "chosen": "a", "rejected": "b"},
        {"conversations": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}], "system": "s"},
        {"messages": [user, bot]}, {"messages": [{"role": "user", "content": [{"type": "text", "text": "q"}]}, bot]},
        {"prompt": "p", "completion": " c"}, {"prompt": [user], "completion": [bot]},
        {"prompt": "p", "chosen": "c", "rejected": "r"}, {"chosen": [user, bot], "rejected": [user, {**bot, "content": "6"}]},
        {"chosen": "\n\nHuman: q\n\nAssistant: a", "rejected": "\n\nHuman: q\n\nAssistant: b"},
        {"prompt": "p", "responses": ["a", "b", "c"], "rank": [1, 2, 2], "label": [1, 0, 0]},
        {"prompt": "p", "completion": "c", "label": True}, {"prompt": "p", "answer": "5"}, {"text": "A text of some words."},
        {"messages": [user, {"role": "assistant", "content": None, "tool_calls": [{"function": {"name": "f", "arguments": '{"a": [1]}'}}]}],
         "tools": '[{"name": "f"}]', "chat_template_kwargs": "{}"},
        {"messages": '[{"role": "user", "content": "q"}, {"role": "assistant", "content": "a", "weight": 0, "tool_calls": "[]"}]'},
        {"prompt": "p", "chosen": "c", "rejected": "r", "margin": 1.5}]
    for i, row in enumerate(rows):
        put("data", f"json{i}", b"\0" + j([row, row]).encode())
    put("data", "holding", b"\1" + j({"version": 1, "data": rows}).encode())
    put("data", "lines", b"\2" + "\n".join(map(j, rows)).encode())
    put("data", "bad", b"\3" + b'{"prompt": "p"}\n{"prompt": 5}\n{"a"\n\n{"text": "t"}\n')
    put("data", "text", b"\4One day.\n\nAnother day, another \xff word.\n \n\nThe end of all the words in this text.")
    put("data", "text1", b"\5One day.\n\nAnother day, another word.\n \n\nThe end of all the words in this text.")


def adapters():
    config = {"peft_type": "LORA", "r": 2, "lora_alpha": 4.0, "target_modules": ["q_proj", "v_proj"], "bias": "none",
              "fan_in_fan_out": False, "base_model_name_or_path": None, "modules_to_save": None, "rank_pattern": {}}
    put("adapter", "good", j(config))
    put("adapter", "rslora", j({**config, "use_rslora": True, "use_dora": False}))
    entries, at = {}, 0
    for x in "qv":
        for y, shape in (("A", [2, 8]), ("B", [8, 2])):
            entries[f"base_model.model.model.layers.0.self_attn.{x}_proj.lora_{y}.weight"] = {
                "dtype": "F32", "shape": shape, "data_offsets": [at, at + 64]}
            at += 64
    put("adapter", "weights", j(config).encode() + b"\0" + safetensors(entries, bytes(at)))


def chats():
    put("chat", "plain", "dYou are kind.\nhello there\nianswer\nhmore <|im_end|> and [INST]\n")
    put("chat", "own", "{% <|im_start|>system\\nYou are a thing<|im_end|> %}\nh q\n")
    put("chat", "dates", "<|start_header_id|> Has read up to\nh q\ni a\n")
    put("chat", "long", "h" + "word " * 60 + "\ni" + "long answer " * 20 + "\nh" + "é🐈" * 30 + "\n")


put("json", "all", r'{"a": [1, -2.5e3, true, false, null, "x\u00e9\ud83d\udc08\n\"\\/"], "b": {"c": []}}')
put("json", "bom", b"\xef\xbb\xbf [0.1]\r\n")
tokenizers()
tensors()
gguf_files()
data()
adapters()
chats()
