#!/usr/bin/env python3
"""Write test/data/gguf.txt: what build/convert must write, byte for byte: a listing of keys, tensors and fingerprints.

    python3 test/gen/gguf_files.py

An independent writer of the format: it knows the models by a formula (each weight is a hash of its tensor's name and
its place), the tokenizers from test/data/tok, and nothing of our C code. The gguf package reads every file back, and its
own quantiser must give the same bytes.
"""
import json
import os
import struct
import tempfile

import gguf
import numpy as np
from gguf.quants import quantize

HERE = os.path.dirname(os.path.abspath(__file__))
DATA = os.path.join(HERE, "..", "data")
TYPES = {"f32": (0, 0), "f16": (1, 1), "bf16": (30, 32), "q8_0": (8, 7)}        # tensor type, file type
MASK = (1 << 64) - 1


def fnv(data):
    h = 0xCBF29CE484222325
    for byte in data:
        h = (h ^ byte) * 0x100000001B3 & MASK
    return h


def weights(name, shape):
    """As Hugging Face stores them: element i = 24 bits of (hash + i * golden), in -1/4 .. 1/4, exact in float32."""
    n = int(np.prod(shape))
    with np.errstate(over="ignore"):
        z = np.uint64(fnv(name.encode())) + np.arange(n, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    x = ((z >> np.uint64(40)).astype(np.float64) - 2.0 ** 23) / 2.0 ** 25
    return x.astype(np.float32).reshape(shape)


def gpt2_tensors(c):
    C, F = c["C"], c["F"]
    yield "token_embd.weight", weights("transformer.wte.weight", (c["V"], C))
    yield "position_embd.weight", weights("transformer.wpe.weight", (c["T"], C))
    for i in range(c["L"]):
        for ours, theirs, shape in (("ln_1", "attn_norm", None), ("attn.c_attn", "attn_qkv", (C, 3 * C)),
                                    ("attn.c_proj", "attn_output", (C, C)), ("ln_2", "ffn_norm", None),
                                    ("mlp.c_fc", "ffn_up", (C, F)), ("mlp.c_proj", "ffn_down", (F, C))):
            w = weights(f"transformer.h.{i}.{ours}.weight", shape or (C,))
            yield f"blk.{i}.{theirs}.weight", w.T if shape else w
            yield f"blk.{i}.{theirs}.bias", weights(f"transformer.h.{i}.{ours}.bias", (shape[1] if shape else C,))
    yield "output_norm.weight", weights("transformer.ln_f.weight", (C,))
    yield "output_norm.bias", weights("transformer.ln_f.bias", (C,))


def turn(w, heads):
    """Rotate-half to interleaved pairs."""
    return w.reshape(heads, 2, w.shape[0] // heads // 2, *w.shape[1:]).swapaxes(1, 2).reshape(w.shape)


def llama_tensors(c):
    C, F, H, KV, D, a = c["C"], c["F"], c["H"], c["KV"], c["D"], c["family"]
    norms = ("post_attention", "post_feedforward") if a == "olmo2" else ("input", "post_attention")
    yield "token_embd.weight", weights("model.embed_tokens.weight", (c["V"], C))
    for i in range(c["L"]):
        p = f"model.layers.{i}."
        yield f"blk.{i}.{'post_attention' if a == 'olmo2' else 'attn'}_norm.weight", weights(
            f"{p}{norms[0]}_layernorm.weight", (C,))
        if a == "phi3":
            yield f"blk.{i}.attn_qkv.weight", weights(f"{p}self_attn.qkv_proj.weight", ((H + 2 * KV) * D, C))
        for x, heads in (("q", H), ("k", KV), ("v", KV)) if a != "phi3" else ():
            w = weights(f"{p}self_attn.{x}_proj.weight", (heads * D, C))
            yield f"blk.{i}.attn_{x}.weight", turn(w, heads) if a in ("llama", "smollm3") and x != "v" else w
        for x, heads in (("q", H), ("k", KV), ("v", KV)) if a == "qwen2" else ():
            yield f"blk.{i}.attn_{x}.bias", weights(f"{p}self_attn.{x}_proj.bias", (heads * D,))
        for x, heads in (("q", H), ("k", KV)) if a in ("qwen3", "olmo2") else ():
            yield f"blk.{i}.attn_{x}_norm.weight", weights(f"{p}self_attn.{x}_norm.weight",
                                                           (D if a == "qwen3" else heads * D,))
        yield f"blk.{i}.attn_output.weight", weights(p + "self_attn.o_proj.weight", (C, H * D))
        yield f"blk.{i}.{'post_ffw' if a == 'olmo2' else 'ffn'}_norm.weight", weights(
            f"{p}{norms[1]}_layernorm.weight", (C,))
        if a == "phi3":
            yield f"blk.{i}.ffn_up.weight", weights(p + "mlp.gate_up_proj.weight", (2 * F, C))
        else:
            yield f"blk.{i}.ffn_gate.weight", weights(p + "mlp.gate_proj.weight", (F, C))
            yield f"blk.{i}.ffn_up.weight", weights(p + "mlp.up_proj.weight", (F, C))
        yield f"blk.{i}.ffn_down.weight", weights(p + "mlp.down_proj.weight", (C, F))
    yield "output_norm.weight", weights("model.norm.weight", (C,))
    if not c["tied"]:
        yield "output.weight", weights("lm_head.weight", (c["V"], C))
    elif a == "olmo2":                  # whose head llama.cpp does not tie
        yield "output.weight", weights("model.embed_tokens.weight", (c["V"], C))
    if c.get("low"):
        f = c["theta"] ** (-2.0 * np.arange(D // 2) / D)
        s = np.clip((c["original"] * f / (2 * np.pi) - c["low"]) / (c["high"] - c["low"]), 0, 1)
        yield "rope_freqs.weight", (1 / ((1 - s) / c["factor"] + s)).astype(np.float32)


def stored(name, w, kind):
    """The tensor's type and bytes."""
    if w.ndim == 1 or name == "position_embd.weight" or kind == "f32":
        return 0, w.astype("<f4").tobytes()
    if kind == "q8_0" and w.shape[1] % 32 == 0:
        blocks = w.reshape(-1, 32)
        d = np.abs(blocks).max(-1, keepdims=True) / np.float32(127)
        x = blocks * (np.float32(1) / d)
        q = np.trunc(x + np.copysign(np.float32(0.5), x)).astype(np.int8)
        data = np.concatenate([d.astype("<f2").view(np.int8), q], axis=1).tobytes()
        assert data == quantize(w, gguf.GGMLQuantizationType.Q8_0).tobytes(), name
        return 8, data
    if kind == "bf16":
        bits = np.ascontiguousarray(w).view(np.uint32)
        data = ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype("<u2").tobytes()
        assert data == quantize(w, gguf.GGMLQuantizationType.BF16).tobytes(), name
        return 30, data
    return 1, w.astype("<f2").tobytes()


def text(s):
    b = s.encode("utf-8")
    return struct.pack("<Q", len(b)) + b


class Writer:
    def __init__(self):
        self.keys, self.listing = [], []

    def add(self, key, kind, payload, shown=None):
        self.keys.append(text(key) + struct.pack("<I", kind) + payload)
        self.listing.append(f"key {key} {kind} {payload.hex() if shown is None else shown}")

    def int(self, key, x):
        self.add(key, 4, struct.pack("<I", x))

    def float(self, key, x):
        self.add(key, 6, struct.pack("<f", x))

    def bool(self, key, x):
        self.add(key, 7, bytes([x]))

    def text(self, key, x):
        payload = text(x)
        self.add(key, 8, payload, f"{fnv(payload):016x}" if len(payload) > 72 or "\n" in x else x)

    def list(self, key, kind, items):
        payload = b"".join(text(x) if kind == 8 else struct.pack("<f" if kind == 6 else "<i", x) for x in items)
        self.add(key, 9, struct.pack("<IQ", kind, len(items)) + payload, f"{kind} {len(items)} {fnv(payload):016x}")


def write_tokenizer(w, c):
    folder = os.path.join(DATA, "tok", c["tok"])
    t = json.load(open(os.path.join(folder, "tokenizer.json"), encoding="utf-8"))
    config = json.load(open(os.path.join(folder, "tokenizer_config.json"), encoding="utf-8"))
    vocab, added = dict(t["model"]["vocab"]), {a["content"]: a for a in t["added_tokens"]}
    vocab.update({x: a["id"] for x, a in added.items()})
    spm, V = c["tok"].startswith("spm"), c["V"]
    tokens, kinds, scores = [f"[PAD{i}]" for i in range(V)], [5] * V, [0.0] * V
    merges = [m.split(" ") if isinstance(m, str) else m for m in t["model"]["merges"]]
    for spelling, i in vocab.items():
        byte = spm and len(spelling) == 6 and spelling.startswith("<0x")
        unknown = spm and spelling == t["model"].get("unk_token")
        a = added.get(spelling)
        tokens[i] = spelling
        kinds[i] = 2 if unknown else (3 if a["special"] else 4) if a else 6 if byte else 1
        if not a and not byte:
            scores[i] = float(-len(merges) - 1)
    for rank in range(len(merges) - 1, -1, -1):
        scores[vocab["".join(merges[rank])]] = float(-rank)
    w.text("tokenizer.ggml.model", "llama" if spm else "gpt2")
    w.text("tokenizer.ggml.pre", {"gpt2re": "gpt-2", "digits": "smollm", "llama3re": "llama-bpe", "qwen2": "qwen2",
                                  "tekken": "tekken", "dolma2": "smaug-bpe", "spm": "default"}[c["tok"]])
    w.list("tokenizer.ggml.tokens", 8, tokens)
    w.list("tokenizer.ggml.token_type", 5, kinds)
    if spm:
        w.list("tokenizer.ggml.scores", 6, scores)
    else:
        w.list("tokenizer.ggml.merges", 8, [" ".join(m) for m in merges])
    end = vocab.get("<|im_end|>", vocab.get("<|eot_id|>"))
    eos = vocab[config["eos_token"]]
    if config.get("bos_token"):
        w.int("tokenizer.ggml.bos_token_id", vocab[config["bos_token"]])
    w.int("tokenizer.ggml.eos_token_id", eos)
    if end is not None and end != eos:
        w.int("tokenizer.ggml.eot_token_id", end)
    if t["model"].get("unk_token"):
        w.int("tokenizer.ggml.unknown_token_id", vocab[t["model"]["unk_token"]])
    if config.get("pad_token"):
        w.int("tokenizer.ggml.padding_token_id", vocab[config["pad_token"]])
    post = t["post_processor"] or {}
    steps = post.get("processors", [post])
    template = any("SpecialToken" in s["single"][0] for s in steps if "single" in s)
    w.bool("tokenizer.ggml.add_bos_token", config.get("add_bos_token", template))
    if spm:
        w.bool("tokenizer.ggml.add_space_prefix", True)
    if config.get("chat_template"):
        w.text("tokenizer.chat_template", config["chat_template"])


def build(name, c, kind):
    w, a = Writer(), c["family"]
    w.text("general.architecture", a)
    w.text("general.name", name)
    w.int("general.file_type", TYPES[kind][1])
    if kind == "q8_0":
        w.int("general.quantization_version", 2)
    for key, symbol in (("context_length", "T"), ("embedding_length", "C"), ("block_count", "L"),
                        ("feed_forward_length", "F"), ("attention.head_count", "H")):
        w.int(f"{a}.{key}", c[symbol])
    if a == "gpt2":
        w.float("gpt2.attention.layer_norm_epsilon", 1e-5)
    else:
        w.int(f"{a}.attention.head_count_kv", c["KV"])
        w.float(f"{a}.attention.layer_norm_rms_epsilon", 1e-5)
        w.float(f"{a}.rope.freq_base", c["theta"])
        w.int(f"{a}.rope.dimension_count", c["D"])
        if c.get("scaling"):
            w.text(f"{a}.rope.scaling.type", c["scaling"])
            w.float(f"{a}.rope.scaling.factor", c["factor"])
        if c.get("scaling") == "yarn":
            w.int(f"{a}.rope.scaling.original_context_length", c["original"])
            w.float(f"{a}.rope.scaling.yarn_beta_fast", 32)
            w.float(f"{a}.rope.scaling.yarn_beta_slow", 1)
        if c["D"] * c["H"] != c["C"]:
            w.int(f"{a}.attention.key_length", c["D"])
            w.int(f"{a}.attention.value_length", c["D"])
        w.int(f"{a}.vocab_size", c["V"])
    write_tokenizer(w, c)
    infos, data = b"", b""
    tensors = list(gpt2_tensors(c) if a == "gpt2" else llama_tensors(c))
    for tensor, x in tensors:
        number, payload = stored(tensor, x, kind)
        dims = x.shape[::-1]
        infos += text(tensor) + struct.pack("<I", len(dims)) + struct.pack(f"<{len(dims)}Q", *dims)
        infos += struct.pack("<IQ", number, len(data))
        w.listing.append(f"tensor {tensor} {' '.join(map(str, dims))} type {number} at {len(data)} {fnv(payload):016x}")
        data += payload + bytes(-len(payload) % 32)
    head = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(w.keys)) + b"".join(w.keys) + infos
    whole = head + bytes(-len(head) % 32) + data
    verify(whole, tensors, len(w.keys), kind)
    return [f"== {name} {kind}"] + w.listing + [f"file {len(whole)} {fnv(whole):016x}"]


def verify(whole, tensors, keys, kind):
    """The gguf package finds the same tensors in it."""
    with tempfile.TemporaryDirectory() as tmp:
        path = os.path.join(tmp, "x.gguf")
        with open(path, "wb") as f:
            f.write(whole)
        r = gguf.GGUFReader(path)
        assert len(r.fields) == keys + 3, (len(r.fields), keys)         # and version and the two counts
        assert [t.name for t in r.tensors] == [t for t, _ in tensors]
        for t, (_, x) in zip(r.tensors, tensors):
            back = gguf.dequantize(t.data, t.tensor_type).reshape(x.shape)
            assert np.abs(back - x).max() <= {"f32": 0, "f16": 1.3e-4, "bf16": 5e-4, "q8_0": 1.2e-3}[kind], t.name


CASES = {
    "gpt2": (dict(family="gpt2", tok="gpt2re", V=1001, T=16, L=2, C=32, H=2, F=64), ("f32", "f16", "bf16", "q8_0")),
    "llama": (dict(family="llama", tok="digits", V=1000, T=32, L=2, C=32, H=4, KV=2, D=8, F=48, theta=100000.0,
                   tied=False), ("f32", "f16", "bf16", "q8_0")),
    "llama3": (dict(family="llama", tok="llama3re", V=1014, T=64, L=1, C=32, H=4, KV=1, D=8, F=64, theta=20.0,
                    tied=True, factor=4.0, low=1.0, high=2.0, original=16), ("f32",)),
    "qwen2": (dict(family="qwen2", tok="qwen2", V=1011, T=32, L=1, C=32, H=2, KV=2, D=16, F=64, theta=10000.0,
                   tied=True), ("f32", "q8_0")),
    "mistral": (dict(family="llama", tok="tekken", V=700, T=32, L=1, C=32, H=4, KV=2, D=8, F=64, theta=10000.0,
                     tied=False, scaling="yarn", factor=4.0, original=8), ("f32",)),
    "qwen3": (dict(family="qwen3", tok="qwen2", V=1003, T=32, L=1, C=32, H=2, KV=1, D=24, F=64, theta=10000.0,
                   tied=True), ("f32", "q8_0")),
    "smollm3": (dict(family="smollm3", tok="llama3re", V=1014, T=32, L=4, C=32, H=4, KV=2, D=8, F=32, theta=10000.0,
                     tied=True), ("f32",)),
    "olmo2": (dict(family="olmo2", tok="dolma2", V=602, T=32, L=1, C=32, H=4, KV=2, D=8, F=64, theta=10000.0,
                   tied=False, scaling="linear", factor=2.0), ("f32", "q8_0")),
    "phi3": (dict(family="phi3", tok="spm", V=800, T=32, L=1, C=32, H=4, KV=2, D=8, F=64, theta=10000.0,
                  tied=False), ("f32",)),
    "llama2": (dict(family="llama", tok="spm", V=800, T=32, L=1, C=32, H=4, KV=4, D=16, F=64, theta=10000.0,
                    tied=False), ("f32", "q8_0"))}

if __name__ == "__main__":
    with open(os.path.join(DATA, "gguf.txt"), "w", encoding="utf-8") as out:
        for name, (config, kinds) in CASES.items():
            for kind in kinds:
                out.write("\n".join(build(name, config, kind)) + "\n")
