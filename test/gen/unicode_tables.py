#!/usr/bin/env python3
"""Writes the Unicode classes that the tokenizers' regular expressions use as C tables.

    python3 unicode_tables.py > unicode_tables.h          class boundaries (binary search)
    python3 unicode_tables.py --delta > unicode_delta.h   distances between them (shorter, walked once)
    python3 unicode_tables.py --text                      the same as letters: the strings on the last pages of llm.h,
                                                          tools/added.h and tools/tekken.h
    python3 unicode_tables.py --check                     compare with the `tokenizers` and `regex` packages

Needs Unicode 16: the package unicodedata2 (16.0.0), or Python 3.14. Nothing else, unless --check.
Letters are the general categories L*, numbers N*; White_Space is the fixed list of 25 code points; what regular
expressions call a word (\\w) is Alphabetic, marks, decimal digits, connectors and the two joiners.
"""
import sys

try:
    import unicodedata2 as unicodedata
except ImportError:
    import unicodedata

WHITE_SPACE = [*range(0x09, 0x0E), 0x20, 0x85, 0xA0, 0x1680, *range(0x2000, 0x200B), 0x2028, 0x2029, 0x202F,
               0x205F, 0x3000]
ALPHABETIC_SYMBOLS = {*range(0x24B6, 0x24EA), *range(0x1F130, 0x1F14A), *range(0x1F150, 0x1F16A),
                      *range(0x1F170, 0x1F18A)}


def is_word(cp):
    kind = unicodedata.category(chr(cp))
    return kind[0] in "LM" or kind in ("Nd", "Nl", "Pc") or cp in (0x200C, 0x200D) or cp in ALPHABETIC_SYMBOLS


def boundaries(member):
    """Code points at which membership changes: in, out, in, out, ..."""
    edges, inside = [], False
    for cp in range(0x110001):
        now = cp <= 0x10FFFF and member(cp)
        if now != inside:
            edges.append(cp)
            inside = now
    return edges


def c_array(name, ctype, numbers):
    lines, line = [], "   "
    for n in numbers:
        item = f" {n},"
        if len(line) + len(item) > 118:
            lines.append(line)
            line = "   "
        line += item
    lines.append(line)
    return f"static const {ctype} {name}[{len(numbers)}] = {{\n" + "\n".join(lines) + "\n};\n"


def kinds(*wanted):
    return boundaries(lambda cp: unicodedata.category(chr(cp)) in wanted)


def classes():
    letter = boundaries(lambda cp: unicodedata.category(chr(cp))[0] == "L")
    number = boundaries(lambda cp: unicodedata.category(chr(cp))[0] == "N")
    space = boundaries(lambda cp: cp in set(WHITE_SPACE))
    return {"unicode_letter": letter, "unicode_number": number, "unicode_space": space,
            "hf_word_differs": boundaries(lambda cp: is_word(cp) != (unicodedata.category(chr(cp))[0] in "LN")),
            "tekken_upper": kinds("Lu", "Lt"), "tekken_lower": kinds("Ll"), "tekken_mark": kinds("Mn", "Mc", "Me")}


def base26(n):
    """A number in base 26: its last digit a small letter, the others capitals (65 is "Cn")."""
    text = chr(ord("a") + n % 26)
    while n >= 26:
        n //= 26
        text = chr(ord("A") + n % 26) + text
    return text


def write_text():
    for name, edges in classes().items():
        text = "".join(base26(b - a) for a, b in zip([0] + edges, edges))
        lines = [f'    "{text[i:i + 112]}"' for i in range(0, len(text), 112)]
        print(f"static const char *{name} =\n" + "\n".join(lines) + ";")


def write(delta):
    if delta:
        print(f"// Unicode {unicodedata.unidata_version}: lengths of the runs outside, inside, outside, ... the class.")
    else:
        print(f"// Unicode {unicodedata.unidata_version}: code points where a class begins, ends, ... (ends excluded).")
        print("// A code point is in the class when the count of entries <= it is odd: one binary search.")
    for name, edges in classes().items():
        if delta:
            steps = [b - a for a, b in zip([0] + edges, edges)]
            assert max(steps) < 65536
            print(c_array(name, "uint16_t", steps), end="")
        else:
            print(c_array(name, "uint32_t", edges), end="")


def check():
    """Classify every code point with the libraries that made the fixtures and count the differences."""
    import regex
    from tokenizers import Regex, pre_tokenizers

    for name, pattern in (("unicode_letter", r"\p{L}"), ("unicode_number", r"\p{N}"), ("unicode_space", r"\s")):
        split = pre_tokenizers.Split(Regex(pattern), behavior="isolated", invert=False)
        edges, ours = classes()[name], set()
        for b, e in zip(edges[::2], edges[1::2]):
            ours.update(range(b, e))
        theirs, python = set(), set()
        for cp in range(0x110000):
            if 0xD800 <= cp < 0xE000:
                continue
            if regex.fullmatch(pattern, chr(cp)):
                python.add(cp)
            if len(split.pre_tokenize_str("\x01" + chr(cp) + "\x01")) == 3:
                theirs.add(cp)
        show = lambda s: f"{len(s)}" + (f" ({', '.join(f'U+{c:04X}' for c in sorted(s)[:8])} ...)" if s else "")
        print(f"{name}: {len(ours)} code points; only here {show(ours - theirs)}; "
              f"only in tokenizers {show(theirs - ours)}; only in regex {show(python - ours)}")


if __name__ == "__main__":
    if unicodedata.unidata_version != "16.0.0":
        sys.exit(f"Unicode {unicodedata.unidata_version}, not 16: pip install unicodedata2==16.0.0")
    if "--check" in sys.argv:
        check()
    elif "--text" in sys.argv:
        write_text()
    else:
        write("--delta" in sys.argv)
