#!/usr/bin/env python3
"""Writes the tables of tools/nfc.h: what Unicode's canonical composition needs, as strings of letters.

    python3 test/gen/nfc_tables.py                           the strings on the last page of tools/nfc.h
    python3 test/gen/nfc_tables.py --fixture > test/data/nfc.json
    python3 test/gen/nfc_tables.py --try PROBE SEED N        N random sequences through `PROBE --nfc` (test/hf_probe.c),
                                                             against this Unicode and the `tokenizers` package's

Needs Unicode 16: the package unicodedata2 (16.0.0), or Python 3.14. Nothing else, unless --try.

nfc_classes     for each run of code points with one combining class that is not 0: how many are before it (behind the
                last run), how many are in it, the class
nfc_seconds     the characters that are the second of a pair, in order: steps
nfc_pairs       for each character that is a pair: its step; the step of its first, where 0, 1, 2, 3 ... stand for 0,
                -1, 1, -2 ...; its second's place in nfc_seconds
nfc_apart       the same, of pairs that are never put together again
nfc_singles     for each character that another replaces: its step, the other's step
Numbers are in base 26, as in unicode_tables.py; the 11,172 Hangul syllables are left out: they are arithmetic.

nfc.json: "blocks", for each 4096 code points the hash (FNV-1a) of the NFC of what block() says; "cases", [text, NFC].
"""
import json
import random
import subprocess
import sys

from unicode_tables import base26, unicodedata

HANGUL = range(0xAC00, 0xAC00 + 11172)
POINTS = [cp for cp in range(0x110000) if not 0xD800 <= cp < 0xE000]


def nfc(text):
    return unicodedata.normalize("NFC", text)


def decompositions():
    """Code point -> one or two code points."""
    table = {}
    for cp in POINTS:
        parts = unicodedata.decomposition(chr(cp)).split()
        if parts and parts[0][0] != "<" and cp not in HANGUL:
            table[cp] = [int(p, 16) for p in parts]
    return table


def zigzag(step):
    return 2 * step if step >= 0 else -2 * step - 1


def classes():
    text, end, point = "", 0, 0
    while point < 0x110000:
        begin, kind = point, unicodedata.combining(chr(point))
        while point < 0x110000 and unicodedata.combining(chr(point)) == kind:
            point += 1
        if kind:
            text += base26(begin - end) + base26(point - begin) + base26(kind)
            end = point
    return text


def rows(table, member, seconds):
    text, last, last_first = "", 0, 0
    for cp, parts in table.items():
        if member(cp, parts):
            text += base26(cp - last) + base26(zigzag(parts[0] - last_first))
            text += base26(seconds.index(parts[1])) if len(parts) == 2 else ""
            last, last_first = cp, parts[0]
    return text


def tables():
    table = decompositions()
    seconds = sorted({parts[1] for parts in table.values() if len(parts) == 2})
    stays = lambda cp: nfc(chr(cp)) == chr(cp)
    joined = {parts[1] for cp, parts in table.items() if len(parts) == 2 and stays(cp)}
    begins = lambda cp: cp in joined or (cp in table and begins(table[cp][0]))
    for cp, (first, *_) in table.items():               # nfc_begin relies on it
        assert not stays(cp) or not begins(first) or first in joined or first < cp
    return {"nfc_classes": classes(),
            "nfc_seconds": "".join(base26(b - a) for a, b in zip([0] + seconds, seconds)),
            "nfc_pairs": rows(table, lambda cp, parts: len(parts) == 2 and stays(cp), seconds),
            "nfc_apart": rows(table, lambda cp, parts: len(parts) == 2 and not stays(cp), seconds),
            "nfc_singles": rows(table, lambda cp, parts: len(parts) == 1, seconds)}


def block(begin):
    """Every code point of it alone, before and behind marks, and behind a letter."""
    return "".join(f"{chr(cp)}\u0301A\u0308{chr(cp)}\u0323\u0334{chr(cp)}\ne{chr(cp)}\n"
                   for cp in range(begin, begin + 4096) if not 0xD800 <= cp < 0xE000)


def fnv(data):
    h = 0xCBF29CE484222325
    for byte in data:
        h = (h ^ byte) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
    return h


def sequences(r, count):
    """Marks, letters that take some, pairs, Hangul, anything: mixed, or taken apart and shuffled."""
    table = decompositions()
    pools = [[cp for cp in POINTS if unicodedata.combining(chr(cp))], list(table), list(HANGUL),
             sorted({p[0] for p in table.values()}), sorted({p[1] for p in table.values() if len(p) == 2}),
             [*range(0x1100, 0x1113), *range(0x1161, 0x1176), *range(0x11A7, 0x11C3)], list(range(32, 127)),
             [0x300, 0x301, 0x304, 0x308, 0x323, 0x327, 0x334, 0x345], [cp for cp in POINTS if cp != 10]]
    for _ in range(count):
        if r.random() < 0.7:
            some = r.choices(pools, k=r.randint(1, 4))
            yield "".join(chr(r.choice(r.choice(some))) for _ in range(r.choice((1, 2, 3, 4, 5, 6, 8, 12, 30))))
        else:
            parts = unicodedata.normalize("NFD", "".join(chr(r.choice(pools[1])) for _ in range(r.randint(1, 4))))
            yield parts if r.random() < 0.5 else "".join(r.sample(parts, len(parts)))


def write_fixture():
    texts = ["\n".join(unicodedata.normalize("NFD", chr(cp)) for cp in decompositions())]
    texts += [text for text in sequences(random.Random(1), 700) if len(text) < 9][:300]
    hashes = [f"{fnv(nfc(block(begin)).encode()):016x}" for begin in range(0, 0x110000, 4096)]
    print('{"unicode": "' + unicodedata.unidata_version + '",\n"blocks": [')
    print(",\n".join(", ".join(f'"{h}"' for h in hashes[i:i + 6]) for i in range(0, len(hashes), 6)) + '],\n"cases": [')
    print(",\n".join(json.dumps([text, nfc(text)], ensure_ascii=False) for text in texts) + "]}")


def new_characters(theirs):
    """Those that the library's older Unicode does not know as marks, or as parts or wholes of pairs."""
    new = {cp for cp in POINTS if theirs(f"q\u0345{chr(cp)}\u0334") != nfc(f"q\u0345{chr(cp)}\u0334")}
    for cp, parts in decompositions().items():
        if theirs(unicodedata.normalize("NFD", chr(cp))) != nfc(chr(cp)):
            new |= {cp, *parts}
    return new


def try_sequences(probe, seed, count):
    from tokenizers import normalizers

    theirs = normalizers.NFC().normalize_str
    new, r = new_characters(theirs), random.Random(seed)
    changed = differ = differ_theirs = with_new = 0
    for done in range(0, count, 100000):
        texts = list(sequences(r, min(100000, count - done)))
        lines = subprocess.run([probe, "--nfc"], input="\n".join(texts).encode(), capture_output=True, check=True)
        for text, ours in zip(texts, lines.stdout.decode().split("\n"), strict=True):
            changed += nfc(text) != text
            differ += nfc(text) != ours
            if theirs(text) != ours:
                with_new += not new.isdisjoint(map(ord, text))
                differ_theirs += new.isdisjoint(map(ord, text))
    print(f"{count} sequences, {changed} of them changed by NFC: {differ} differ from Unicode "
          f"{unicodedata.unidata_version}; from tokenizers {differ_theirs}, and {with_new} that hold one of {len(new)} "
          f"characters that it does not know")


if __name__ == "__main__":
    if unicodedata.unidata_version != "16.0.0":
        sys.exit(f"Unicode {unicodedata.unidata_version}, not 16: pip install unicodedata2==16.0.0")
    if sys.argv[1:] == ["--fixture"]:
        write_fixture()
    elif sys.argv[1:2] == ["--try"]:
        try_sequences(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
    else:
        for name, text in tables().items():
            lines = [f'    "{text[i:i + 112]}"' for i in range(0, len(text), 112)]
            print(f"static const char *{name} =\n" + "\n".join(lines) + ";")
