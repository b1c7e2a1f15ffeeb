#!/usr/bin/env python3
"""Prints tools/jinja_calls.h's table of capital letters: {first, last, step, distance to the small letter}, for Latin, Greek and
Cyrillic; and the letters among them whose other case is not one letter, or not always the same.

    python3 test/gen/jinja_case.py
"""
BLOCKS = [(0x80, 0x180), (0x370, 0x530), (0x1E00, 0x1F00)]
chars = [c for a, b in BLOCKS for c in range(a, b)]
odd = {c for c in chars if len(chr(c).upper()) > 1 or len(chr(c).lower()) > 1}
small = {c: ord(chr(c).lower()) for c in chars if c not in odd and chr(c).lower() != chr(c)}
back = {}
for c, s in small.items():
    back.setdefault(s, c)
for c in chars:                 # upper() must undo lower(), and touch nothing else
    if c not in odd and ord(chr(c).upper()) != (back.get(c) if c in back else c):
        odd.add(c)
    if c in small and chr(small[c]).upper() != chr(c):
        odd.add(c)
keys, rows, i = sorted(set(small) - odd), [], 0
while i < len(keys):
    best = (i, 1)
    for step in (1, 2):
        j = i
        while j + 1 < len(keys) and keys[j + 1] == keys[j] + step and small[keys[j + 1]] - keys[j + 1] == small[keys[i]] - keys[i]:
            j += 1
        best = max(best, (j, step), key=lambda x: (x[0], -x[1]))
    rows.append((keys[i], keys[best[0]], best[1], small[keys[i]] - keys[i]))
    i = best[0] + 1
def lines(items, indent):
    out, line = [], indent
    for x in items:
        if len(line) + len(x) > 118:
            out.append(line.rstrip())
            line = indent
        line += x + " "
    return "\n".join(out + [line.rstrip()])
print(lines(["{0x%X, 0x%X, %d, %d}," % r for r in rows], " " * 4))
print(lines(["0x%X," % c for c in sorted(odd)], " " * 4))
print(len(rows), len(odd))
