#!/usr/bin/env python3
"""Tokenizer fixtures: a small tokenizer.json of every family, and what the `tokenizers` library does with it.

    python3 test/gen/tokenizer.py [test/data/tok]       (needs tokenizers, tiktoken, sentencepiece, transformers)

    gpt2re/     GPT-2's regular expression, merges stored as "a b" strings, <|endoftext|> is the last id
    gpt2pairs/  the same family, merges stored as ["a","b"] pairs, five special tokens first
    digits/     SmolLM's form: every digit alone, then GPT-2's regular expression
    llama3re/   Llama 3's regular expression and ignore_merges, with tokens that no merge reaches
    dolma2/     OLMo-2's form of Llama 3's expression: what lies between its matches is removed
    tekken/     Mistral's newer expression: small and capital letters
    qwen2/      Qwen2's regular expression, NFC before it
    spm/        Llama 2's form: Prepend normalizer, byte fallback
    spm-metaspace/  the newer spelling; differs where the text begins with a space

cases.jsonl, one object a line:
    text        what goes in
    ids         its ids; special tokens spelled inside the text are plain text (nothing is added at either end)
    decoded     ids back to text by the library; ill-formed UTF-8 is U+FFFD there
    special     only where it differs: the ids when the spellings of special tokens are recognised
    nfc         only in qwen2: true where NFC changes the text

The ids are checked against a second implementation (tiktoken, sentencepiece) before they are written.
"""
import io
import json
import os
import shutil
import sys
import unicodedata

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

import corpus

GPT2 = r"""'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"""
LLAMA3 = (r"""(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"""
          r"""|\s*[\r\n]+|\s+(?!\S)|\s+""")
QWEN2 = LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")
TEKKEN = (r"""[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+"""
          r"""|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*"""
          r"""|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+""")
OURS = ["<|endoftext|>", "<|pad|>", "<|im_start|>", "<|im_end|>", "<|reward|>"]
CHATML = ("{% macro open(who) %}{{ '<|im_start|>' ~ who ~ '\\n' }}{% endmacro %}{% for m in messages %}{{ open(m.role) ~ m.content }}"
          "{{ '<|im_end|>\\n' }}{% endfor %}{% if add_generation_prompt %}{{ open('assistant') }}{% endif %}")


def byte_level(use_regex):
    return pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=use_regex)


def split(pattern, removed=False):
    pieces = pre_tokenizers.Split(Regex(pattern), behavior="removed" if removed else "isolated", invert=removed)
    return pre_tokenizers.Sequence([pieces, byte_level(False)])


def train(pre_tokenizer, size, first=(), normalizer=None, ignore_merges=False):
    t = Tokenizer(models.BPE(ignore_merges=ignore_merges))
    t.pre_tokenizer, t.decoder = pre_tokenizer, decoders.ByteLevel()
    t.post_processor = processors.ByteLevel(trim_offsets=False)
    if normalizer:
        t.normalizer = normalizer
    t.train_from_iterator(corpus.training_lines(), trainers.BpeTrainer(
        vocab_size=size, special_tokens=list(first), show_progress=False,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet())))
    assert t.get_vocab_size() == size, f"the text gives only {t.get_vocab_size()} ids, {size} wanted"
    return t


def add_specials(t, names):
    t.add_special_tokens([AddedToken(n, special=True, normalized=False) for n in names])


def config(path, **more):
    c = {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": 1024, "clean_up_tokenization_spaces": False}
    c.update(more)
    with open(os.path.join(path, "tokenizer_config.json"), "w", encoding="utf-8") as f:
        json.dump(c, f, indent=2, ensure_ascii=False)
        f.write("\n")


def store(t, path, merges, pretty):
    """Save, with the merges in the wanted spelling, and read back: the cases are of the file as it lies there."""
    data = json.loads(t.to_str())
    join = {"strings": " ".join, "pairs": list}[merges]
    data["model"]["merges"] = [join(m) if isinstance(m, list) else join(m.split(" ")) for m in data["model"]["merges"]]
    file = os.path.join(path, "tokenizer.json")
    with open(file, "w", encoding="utf-8") as f:
        json.dump(data, f, ensure_ascii=False, indent=2 if pretty else None, separators=None if pretty else (",", ":"))
        f.write("\n")
    return Tokenizer.from_file(file)


def encode(t, text, special):
    t.encode_special_tokens = not special
    return t.encode(text, add_special_tokens=False).ids


def write_cases(t, path, nfc=False, second=None):
    count = differ = 0
    with open(os.path.join(path, "cases.jsonl"), "w", encoding="utf-8") as f:
        for text in corpus.cases():
            ids, special = encode(t, text, False), encode(t, text, True)
            row = {"text": text, "ids": ids, "decoded": t.decode(ids, skip_special_tokens=False)}
            if special != ids:
                row["special"] = special
            if nfc and unicodedata.normalize("NFC", text) != text:
                row["nfc"] = True
            if second:
                other = second(text)
                assert other == ids, f"{path}: {text!r}: {ids} but the second implementation says {other}"
            f.write(json.dumps(row, ensure_ascii=False, separators=(",", ":")) + "\n")
            count, differ = count + 1, differ + (special != ids)
    print(f"{path}: V {t.get_vocab_size()}, {count} cases ({differ} with special tokens), "
          f"{'checked against a second implementation' if second else 'no second implementation'}")


def tiktoken_of(t, pattern, before=lambda text: [text]):
    """The same vocabulary in tiktoken: ids become ranks in the order of the merges."""
    import tiktoken
    back = {c: b for b, c in byte_alphabet().items()}
    special = {a.content for a in t.get_added_tokens_decoder().values()}
    tokens = sorted((i, s) for s, i in t.get_vocab(with_added_tokens=True).items() if s not in special)
    # The single bytes come first, whatever their ids; tiktoken wants ranks without holes.
    ranks = {bytes(back[c] for c in s): n for n, (_, s) in enumerate(tokens)}
    to_id = {n: i for n, (i, _) in enumerate(tokens)}
    e = tiktoken.Encoding("fixture", pat_str=pattern, mergeable_ranks=ranks, special_tokens={})
    return lambda text: [to_id[n] for part in before(text) for n in e.encode_ordinary(part)]


def byte_alphabet():
    keep = [*range(33, 127), *range(161, 173), *range(174, 256)]
    table, extra = {b: chr(b) for b in keep}, 0
    for b in range(256):
        if b not in table:
            table[b], extra = chr(256 + extra), extra + 1
    return table


def digits_apart(text):
    """Pieces of the text with every \\p{N} alone."""
    parts, word = [], ""
    for c in text:
        if unicodedata.category(c)[0] == "N":
            parts, word = parts + [word, c], ""
        else:
            word += c
    return parts + [word]


def fresh(root, name):
    path = os.path.join(root, name)
    shutil.rmtree(path, ignore_errors=True)
    os.makedirs(path)
    return path


def write_gpt2(root):
    path = fresh(root, "gpt2re")
    t = train(byte_level(True), 1000)
    add_specials(t, ["<|endoftext|>"])
    t = store(t, path, "strings", pretty=True)
    config(path, bos_token="<|endoftext|>", eos_token="<|endoftext|>", unk_token="<|endoftext|>", add_bos_token=False)
    write_cases(t, path, second=tiktoken_of(t, GPT2))

    path = fresh(root, "gpt2pairs")
    t = store(train(byte_level(True), 600, OURS), path, "pairs", pretty=True)
    config(path, bos_token=OURS[0], eos_token=OURS[3], pad_token=OURS[1], chat_template=CHATML)
    write_cases(t, path, second=tiktoken_of(t, GPT2))


def write_tiny(path, size):
    """A tokenizer for a tiny model, saved as transformers saves it."""
    from transformers import PreTrainedTokenizerFast
    t = train(byte_level(True), size, OURS)
    PreTrainedTokenizerFast(tokenizer_object=t, bos_token=OURS[0], eos_token=OURS[0], pad_token=OURS[1],
                            model_max_length=32).save_pretrained(path)


def write_digits(root):
    path = fresh(root, "digits")
    t = train(pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), byte_level(True)]), 1000,
              ["<|endoftext|>", "<|im_start|>", "<|im_end|>"])
    t = store(t, path, "strings", pretty=False)
    config(path, bos_token="<|im_start|>", eos_token="<|im_end|>", pad_token="<|im_end|>", unk_token="<|endoftext|>")
    write_cases(t, path, second=tiktoken_of(t, GPT2, digits_apart))


def write_llama3(root):
    path = fresh(root, "llama3re")
    t = train(split(LLAMA3), 1000, ignore_merges=True)
    data = json.loads(t.to_str())
    spell = lambda s: "".join(byte_alphabet()[b] for b in s.encode())
    for word in ["Hello", " world", "camel", "你好", " indented", "456", " привет", "Straße", "_case"]:
        assert spell(word) not in data["model"]["vocab"]
        data["model"]["vocab"][spell(word)] = len(data["model"]["vocab"])
    t = Tokenizer.from_str(json.dumps(data))
    begin = "<|begin_of_text|>"
    add_specials(t, [begin, "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"])
    t.post_processor = processors.Sequence([processors.ByteLevel(trim_offsets=False), processors.TemplateProcessing(
        single=f"{begin} $A", pair=f"{begin} $A {begin}:1 $B:1", special_tokens=[(begin, t.token_to_id(begin))])])
    t = store(t, path, "pairs", pretty=False)
    config(path, bos_token=begin, eos_token="<|eot_id|>")
    write_cases(t, path, second=tiktoken_of(t, LLAMA3))
    data["model"]["ignore_merges"] = False
    without = Tokenizer.from_str(json.dumps(data))
    changed = sum(encode(t, c, False) != encode(without, c, False) for c in corpus.cases())
    print(f"    ignore_merges decides {changed} of the cases")
    assert changed > 5


def write_dolma2(root):
    path = fresh(root, "dolma2")
    t = train(split(LLAMA3, removed=True), 600)
    add_specials(t, ["<|endoftext|>", "<|pad|>"])
    t = store(t, path, "strings", pretty=False)
    config(path, bos_token="<|endoftext|>", eos_token="<|endoftext|>", pad_token="<|pad|>", unk_token="<|endoftext|>")
    write_cases(t, path, second=tiktoken_of(t, LLAMA3))


def write_tekken(root):
    path = fresh(root, "tekken")
    t = train(split(TEKKEN), 700, ["<unk>", "<s>", "</s>", "[INST]", "[/INST]"], ignore_merges=True)
    t.post_processor = processors.TemplateProcessing(single="<s> $A", pair="<s> $A <s>:1 $B:1",
                                                     special_tokens=[("<s>", 1)])
    t = store(t, path, "pairs", pretty=False)
    config(path, bos_token="<s>", eos_token="</s>", unk_token="<unk>")
    write_cases(t, path, second=tiktoken_of(t, TEKKEN))


def write_qwen2(root):
    path = fresh(root, "qwen2")
    t = train(split(QWEN2), 1000, normalizer=normalizers.NFC())
    add_specials(t, ["<|endoftext|>", "<|im_start|>", "<|im_end|>"])
    t = store(t, path, "strings", pretty=False)
    config(path, eos_token="<|im_end|>", pad_token="<|endoftext|>", bos_token=None, add_prefix_space=False)
    second = tiktoken_of(t, QWEN2)
    write_cases(t, path, nfc=True, second=lambda text: second(unicodedata.normalize("NFC", text)))


def write_spm(root):
    """Train with sentencepiece, carry its pieces over: a merge for every way to make a piece, best score first."""
    import sentencepiece
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(corpus.training_lines()), model_writer=model, model_type="bpe", vocab_size=800,
        byte_fallback=True, character_coverage=0.985, normalization_rule_name="identity",
        remove_extra_whitespaces=False, add_dummy_prefix=True, split_digits=True, allow_whitespace_only_pieces=True,
        num_threads=1, minloglevel=2)
    sp = sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())
    pieces = [sp.id_to_piece(i) for i in range(sp.vocab_size())]
    vocab = {p: i for i, p in enumerate(pieces)}
    normal = {p for i, p in enumerate(pieces) if not (sp.is_byte(i) or sp.is_control(i) or sp.is_unknown(i))}
    merges = [(-sp.get_score(vocab[p]), vocab[p[:k]], vocab[p[k:]], p[:k], p[k:])
              for p in normal for k in range(1, len(p)) if p[:k] in normal and p[k:] in normal]
    merges = [(a, b) for *_, a, b in sorted(merges)]

    def build():
        t = Tokenizer(models.BPE(vocab=vocab, merges=merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True))
        add_specials(t, ["<unk>", "<s>", "</s>"])
        t.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(),
                                       decoders.Strip(content=" ", left=1, right=0)])
        t.post_processor = processors.TemplateProcessing(single="<s> $A", pair="<s> $A <s>:1 $B:1",
                                                         special_tokens=[("<s>", 1)])
        return t

    old, new = build(), build()
    old.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    new.pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="first", split=False)
    names = dict(bos_token="<s>", eos_token="</s>", unk_token="<unk>", add_bos_token=True, add_eos_token=False)
    for t, name, merge, second in ((old, "spm", "strings", sp.encode), (new, "spm-metaspace", "pairs", None)):
        path = fresh(root, name)
        t = store(t, path, merge, pretty=False)
        config(path, **names)
        write_cases(t, path, second=second)


if __name__ == "__main__":
    here = os.path.dirname(os.path.abspath(__file__))
    where = sys.argv[1] if len(sys.argv) > 1 else os.path.join(here, "../data/tok")
    write_gpt2(where)
    write_digits(where)
    write_llama3(where)
    write_dolma2(where)
    write_tekken(where)
    write_qwen2(where)
    write_spm(where)
