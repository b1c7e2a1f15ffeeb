#!/usr/bin/env python3
"""Writes the tables of tools/nfc.h: what Unicode's canonical composition needs, as strings of letters.

    python3 test/gen/nfc_tables.py                       the strings on the last page of tools/nfc.h
    python3 test/gen/nfc_tables.py --fixture > test/data/nfc.json
    python3 test/gen/nfc_tables.py --try PROGRAM SEED N  N random sequences: PROGRAM (a filter, build/nfc_probe) against
                                                         this Unicode, and against the `tokenizers` package if it is there

Needs Unicode 16: the package unicodedata2 (16.0.0), or Python 3.14. Nothing else.

nfc_classes     for each run of code points with one combining class that is not 0: how many are before it (behind the
                last run), how many are in it, the class
nfc_seconds     the characters that are the second of a pair, in order: steps
nfc_pairs       for each character that is a pair: its step; the step of its first, where 0, 1, 2 ... stand for 0, -1, 1,
                -2 ...; its second's place in nfc_seconds
nfc_apart       the same, of pairs that are never put together again
nfc_singles     for each character that another replaces: its step, the other's step
Numbers are in base 26, as in unicode_tables.py; the 11,172 Hangul syllables are left out: they are arithmetic.
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
    return {"nfc_classes": classes(),
            "nfc_seconds": "".join(base26(b - a) for a, b in zip([0] + seconds, seconds)),
            "nfc_pairs": rows(table, lambda cp, parts: len(parts) == 2 and stays(cp), seconds),
            "nfc_apart": rows(table, lambda cp, parts: len(parts) == 2 and not stays(cp), seconds),
            "nfc_singles": rows(table, lambda cp, parts: len(parts) == 1, seconds)}


if __name__ == "__main__":
    for name, text in tables().items():
        lines = [f'    "{text[i:i + 112]}"' for i in range(0, len(text), 112)]
        print(f"static const char *{name} =\n" + "\n".join(lines) + ";")
