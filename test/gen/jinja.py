#!/usr/bin/env python3
"""Fixtures for tools/jinja.h: what transformers' apply_chat_template makes of templates and conversations.

    python3 test/gen/jinja.py [test/data/jinja.json]      (needs transformers and jinja2)

Of every template x conversation a hash of "TEXT\\0MARKS\\0" (16 hexadecimal digits), where MARKS has a digit for every byte
of the text: 1: out of the conversation, 2: inside {% generation %}, 3: both; or what is raised; of some the text itself.
And of expressions in which Jinja2 has its own ways: what each prints.

transformers gives the text and the spans of {% generation %}. Where each character came from is found out by rendering
once more, with strings that remember it (class Marked): an oracle of its own, since Jinja2 knows nothing of it.
"""
import datetime
import json
import os
import sys

import jinja2
import jinja2.runtime
import transformers.utils.chat_template_utils as hf
from transformers.tokenization_utils_base import _normalize_chat_messages

from jinja_cases import CASES
from jinja_talks import TALKS
from jinja_templates import TEMPLATES

HERE = os.path.dirname(os.path.abspath(__file__))
NOW = datetime.datetime(2026, 3, 7, 9, 5, 3)            # 1772874303 in UTC


class Clock(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return NOW


hf.datetime = Clock


# ---- strings that know of each character whether it is the conversation's, and of which message (MESSAGE x its number)

MESSAGE = 4

class Marked(str):
    def __new__(cls, text, marks):
        self = super().__new__(cls, text)
        assert len(text) == len(marks), (text, marks)
        self.marks = list(marks)
        return self

    def __str__(self):
        return self

    def __add__(self, other):
        return join([self, other])

    def __radd__(self, other):
        return join([other, self])

    def __mul__(self, n):
        return join([self] * n)

    def __getitem__(self, key):
        marks = self.marks[key]
        return Marked(str.__getitem__(self, key), marks if isinstance(key, slice) else [marks])

    def __iter__(self):
        return (self[i] for i in range(len(self)))

    def part(self, text, start):
        return self[start:start + len(text)]

    def lstrip(self, chars=None):
        n = len(str.lstrip(self, chars))
        return self[len(self) - n:]

    def rstrip(self, chars=None):
        return self[:len(str.rstrip(self, chars))]

    def strip(self, chars=None):
        return self.lstrip(chars).rstrip(chars)

    def split(self, sep=None, maxsplit=-1):
        out, at = [], 0
        for piece in str.split(self, sep, maxsplit):
            at = str.index(self, piece, at) if sep is None else at
            out.append(self.part(piece, at))
            at += len(piece) + len(sep or "")
        return out

    def splitlines(self, keepends=False):
        out, at = [], 0
        for whole, piece in zip(str.splitlines(self, True), str.splitlines(self, keepends)):
            out.append(self.part(piece, at))
            at += len(whole)
        return out

    def replace(self, old, new, count=-1):
        assert len(old) and count == -1
        return join(self.split(old), new)

    def each(self, f):
        return join([Marked(f(str.__getitem__(self, i)), [m] * len(f(str.__getitem__(self, i)))) for i, m in enumerate(self.marks)])

    def upper(self):
        return self.each(str.upper)

    def lower(self):
        return self.each(str.lower)

    def capitalize(self):
        return join([self[:1].upper(), self[1:].lower()])

    def __repr__(self):
        quote = '"' if "'" in self and '"' not in self else "'"
        inside = self.each(lambda c: "\\" + c if c == quote else c if c in "'\"" else repr(c)[1:-1])
        return join([quote, inside, quote])


def marks_of(text):
    return text.marks if isinstance(text, Marked) else [0] * len(text)


def join(texts, between=""):
    text, marks = [], []
    for i, x in enumerate(texts):
        for part in ([between] if i and between else []) + [x]:
            text.append(str.__str__(part))
            marks += marks_of(part)
    return Marked("".join(text), marks)


def show(x):
    """str(), whose result remembers."""
    if isinstance(x, dict):
        return join(["{", join([join([show_repr(k), ": ", show_repr(v)]) for k, v in x.items()], ", "), "}"])
    if isinstance(x, list):
        return join(["[", join([show_repr(v) for v in x], ", "), "]"])
    return x if isinstance(x, str) else str(x)


def show_repr(x):
    return Marked.__repr__(x) if isinstance(x, Marked) else show(x) if isinstance(x, (dict, list)) else repr(x)


def tojson(x, ensure_ascii=False, indent=None, separators=None, sort_keys=False, level=0):
    comma, colon = separators or ((", ", ": ") if indent is None else (",", ": "))
    line = lambda n: "" if indent is None else "\n" + " " * (indent * n)
    if isinstance(x, str):
        x = x if isinstance(x, Marked) else Marked(x, [0] * len(x))
        return join(['"', x.each(lambda c: json.dumps(c, ensure_ascii=ensure_ascii)[1:-1]), '"'])
    if isinstance(x, (list, dict)) and x:
        again = lambda v: tojson(v, ensure_ascii, indent, separators, sort_keys, level + 1)
        items = [again(v) for v in x] if isinstance(x, list) else [
            join([again(k) if isinstance(k, str) else json.dumps(str(k)), colon, again(x[k])]) for k in (sorted(x) if sort_keys else x)]
        return join([("[" if isinstance(x, list) else "{") + line(level + 1), join(items, comma + line(level + 1)),
                     line(level) + ("]" if isinstance(x, list) else "}")])
    return json.dumps(x)


def indent(s, width=4, first=False, blank=False):
    by, lines = (width if isinstance(width, str) else " " * width), join([s, "\n"]).splitlines()
    return join([join([by, line]) if (first if not i else line or blank) else line for i, line in enumerate(lines)], "\n")


def formatted(s, *values):
    pieces = Marked(s, marks_of(s)).split("%s")
    return join(pieces[:1] + [x for value, piece in zip(values, pieces[1:]) for x in (show(value), piece)])


def marked(value, path=()):
    mark = 1 + (MESSAGE * (path[1] + 1) if path[:1] == ("messages",) else 0)
    if isinstance(value, str):
        trusted = path[:1] == ("messages",) and path[2:] == ("role",) and all(c.isascii() and (c.isalnum() or c in "_-") for c in value)
        return value if trusted else Marked(value, [mark] * len(value))
    if isinstance(value, dict):
        return {Marked(k, [mark] * len(k)): marked(v, path + (k,)) for k, v in value.items()}
    return [marked(v, path + (i,)) for i, v in enumerate(value)] if isinstance(value, list) else value


jinja2.runtime.str_join = lambda seq: join([show(x) for x in seq])


def remembering(source):
    env = hf._compile_jinja_template(source).environment.overlay()
    env.concat = join
    env.finalize = show
    filters = {"tojson": tojson, "join": lambda v, d="", attribute=None: join(
                   [show(x if attribute is None else x[attribute]) for x in v], d), "indent": indent, "string": show,
               "trim": lambda v, chars=None: show(v).strip(chars), "capitalize": lambda v: show(v).capitalize(),
               "safe": lambda v: v, "replace": lambda v, old, new: show(v).replace(old, new), "format": formatted}
    env.filters = {**env.filters, **filters}
    base = type(env).getattr
    env.getattr = lambda obj, name: base(env, Marked(obj, [0] * len(obj)) if type(obj) is str and obj.isascii() else obj, name)
    return env.from_string(source)


# ---- one conversation in one template

def fnv(data):
    h = 0xCBF29CE484222325
    for byte in data:
        h = (h ^ byte) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
    return h


def variables(talk, bos, eos):
    v = {k: x for k, x in talk.items() if k != "messages"}
    return {**({"bos_token": bos} if bos else {}), **({"eos_token": eos} if eos else {}), **v}


def render(source, talk, bos, eos):
    """(text, marks) or (what is raised, None)."""
    messages = _normalize_chat_messages(talk["messages"])
    v = variables(talk, bos, eos)
    try:
        texts, spans = hf.render_jinja_template([messages], chat_template=source, return_assistant_tokens_mask=True, **v)
    except jinja2.exceptions.TemplateError as e:
        raised = type(e) is jinja2.exceptions.TemplateError
        return ("raised: " + e.message.replace("\n", " ") if raised else "error", None)   # tools/jinja.h: one line
    except Exception:
        return ("error", None)
    text = texts[0]
    plain = {"tools": None, "documents": None, "add_generation_prompt": False, **v}
    for key in set(talk) - {"messages"}:
        plain[key] = marked(talk[key], (key,))
    again = join(list(remembering(source).generate(
        messages=[marked(m, ("messages", i)) for i, m in enumerate(hf._alias_reasoning_fields(messages))], **plain)))
    assert str.__str__(again) == text, (text, again)
    marks = marks_of(again)
    for begin, end in spans[0]:
        for i in range(begin, end):
            marks[i] |= 2
    return text, marks


def marks_in_bytes(text, marks):
    return "".join(str(m % MESSAGE) * len(c.encode()) for c, m in zip(text, marks))


def result(text, marks):
    if marks is None:
        return text
    return f"{fnv(text.encode() + b'|' + marks_in_bytes(text, marks).encode()):016x}"


def case(source):
    """What an expression or a small template prints; None: an error, or the address of a Python object."""
    try:
        talk = {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": " Yo "}]}
        text = hf.render_jinja_template([_normalize_chat_messages(talk["messages"])], chat_template=source, x="It's", n=7,
                                        d={"a": 1, "B": [1, 2.5, None], "items": "own"}, e="\u00e9\U0001f600z")[0][0]
        return None if " at 0x" in text else text
    except Exception:
        return None


if __name__ == "__main__":
    where = sys.argv[1] if len(sys.argv) > 1 else os.path.join(HERE, "../data/jinja.json")
    rows, texts = [], []
    for name, bos, eos, source in TEMPLATES:
        outcome = [render(source, talk, bos, eos) for talk in TALKS]
        some = {i: outcome[i] for i in (2, 6, 24, 30, 31, 34) if outcome[i][1] is not None}
        rows.append({"name": name, "bos": bos, "eos": eos, "source": source, "result": [result(*x) for x in outcome],
                     "text": {str(i): t for i, (t, m) in some.items()},
                     "marks": {str(i): marks_in_bytes(t, m) for i, (t, m) in list(some.items())[:1]}})
    cases = [[source, case(source)] for source in CASES]
    dump = lambda x: json.dumps(x, ensure_ascii=False)
    with open(where, "w") as f:
        f.write('{"now": 1772874303, "talks": [\n' + ",\n".join(dump(x) for x in TALKS) + '],\n"templates": [\n' +
                ",\n".join(dump(x) for x in rows) + '],\n"cases": [\n' + ",\n".join(dump(x) for x in cases) + "]}\n")
    good = sum(len(r["result"]) - sum(x.startswith(("raised", "error")) for x in r["result"]) for r in rows)
    print(where, os.path.getsize(where), "bytes:", len(rows), "templates x", len(TALKS), "conversations,", good, "texts,",
          len(cases), "expressions,", sum(x[1] is None for x in cases), "of them errors")
