#!/usr/bin/env python3
"""Does tools/jinja.h render what transformers renders, beyond the fixtures of test/gen/jinja.py?

    make build/jinja_probe && python3 test/jinja_compare.py [--seconds 20] [--seed 1] [FILE.jinja | MODEL_FOLDER ...]

1. Random templates, built from a grammar, over random values, for some seconds.
2. Templates named on the command line (a file, or the folder of a model) x the conversations of test/gen/jinja_talks.py.

Equal means: the same text, or an error on both sides. Where ours refuses what Jinja2 prints, that is counted and shown apart:
a refusal is allowed, another text is not. Without transformers it prints a line that begins with SKIP and succeeds.
"""
import argparse
import json
import logging
import os
import random
import subprocess
import sys
import time
import warnings

os.environ.setdefault("TZ", "UTC")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
logging.disable(logging.WARNING)
warnings.filterwarnings("ignore", category=SyntaxWarning)
HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "gen"))
try:
    import jinja as gen     # test/gen/jinja.py: transformers with a clock that stands still
except ImportError as e:
    print(f"SKIP: jinja_compare.py: {e.name} is not installed (pip install transformers jinja2)")
    sys.exit(0)
from jinja_talks import TALKS

VALUES = {"s": "It's <b>\n a  b", "e": "\u00e9\U0001f600z \u00a0", "n": 7, "f": 2.5, "z": 0, "t": True, "o": None, "u": "",
          "l": [3, "b", "A", None, 1.5], "w": ["b", "a", "C", "a"], "k": [3, 1, 2], "d": {"a": 1, "B": [1, 2], "items": "own", "c": None},
          "p": [{"a": 1, "b": "x"}, {"a": 2, "b": "y"}, {"a": 2}]}
NAMES = list(VALUES) + ["missing", "messages", "messages[0]", "messages[0].content", "ns.a", "m"]
FILTERS = ["trim", "upper", "lower", "title", "capitalize", "length", "list", "first", "last", "reverse", "sort", "unique", "join",
           "join(', ')", "tojson", "tojson(indent=2)", "string", "int", "float", "round", "abs", "default('q')", "default('q', true)",
           "items", "dictsort", "map('upper')", "map(attribute='a')", "selectattr('a')", "selectattr('a', 'eq', 2)", "select('string')",
           "rejectattr('b', 'defined')", "reject('none')", "replace('a', 'zz')", "indent(2)", "max", "min", "sum", "batch(2)", "safe",
           "map('string')", "map(attribute='b', default='-')", "center(9)", "list | length", "count", "d", "reject"]
METHODS = ["strip()", "lstrip()", "rstrip('z ')", "split()", "split(' ')", "split('a', 1)", "upper()", "lower()", "title()",
           "startswith('I')", "endswith('z ')", "replace('b', '')", "find('b')", "count('a')", "items()", "keys()", "values()",
           "get('a')", "get('q', 1)", "splitlines()", "rsplit('b', 1)", "partition('b')", "isdigit()", "capitalize()", "index('a')",
           "join(w)", "removeprefix('It')", "copy()"]
TESTS = ["defined", "undefined", "none", "string", "mapping", "iterable", "sequence", "number", "boolean", "true", "false", "odd",
         "integer", "float", "eq(7)", "in([7, 'b'])", "sameas(none)", "lower", "upper", "callable", "divisibleby(2)"]
OPS = ["+", "-", "*", "/", "//", "%", "~", "==", "!=", "<", ">=", "in", "not in", "and", "or", "**"]


def expression(r, depth=0):
    kind = r.randrange(14 if depth < 4 else 2)
    again = lambda: expression(r, depth + 1)
    if kind == 0:
        return r.choice(["1", "-2", "0", "2.5", "'b'", "''", "'a b'", "none", "true", "[]", "{}", "()", "1e3", '"It\\n"'])
    if kind in (1, 2, 3):
        return r.choice(NAMES)
    if kind == 4:
        return f"({again()} {r.choice(OPS)} {again()})"
    if kind in (5, 6, 7):
        return f"{again()} | {r.choice(FILTERS)}" if r.random() < .7 else f"({again()} | {r.choice(FILTERS)})"
    if kind == 8:
        return f"({again()}).{r.choice(METHODS)}"
    if kind == 9:
        return f"({again()} is {r.choice(['', 'not '])}{r.choice(TESTS)})"
    if kind == 10:
        parts = [r.choice(["", "0", "1", "-1", "2", "-9", "9"]) for _ in range(r.choice([1, 2, 2, 3]))]
        return f"({again()})[{':'.join(parts) or '0'}]"
    if kind == 11:
        return r.choice(["[{0}, {1}]", "({0}, {1})", "{{'a': {0}, 'b': {1}}}", "({0} if {1} else {2})", "({0} if {1})", "not ({0})", "-({0})",
                         "range({0}) | list", "dict(a={0})", "[{0}]"]).format(again(), again(), again())
    return f"({again()}){r.choice(['.a', '.b', '.0', '[0]', '[-1]', chr(91) + repr('a') + chr(93), '.items', '.content', '.B'])}"


def statements(r, depth=0):
    out = []
    for _ in range(r.randint(1, 4 if depth < 3 else 1)):
        e = expression(r, 2)
        space = lambda: r.choice(["", "", "\n", " ", "\n  ", "x", "\n\n"])
        tag = lambda text: "{%" + r.choice(["", "-", "+", "", ""]) + f" {text} " + r.choice(["", "-", "", ""]) + "%}"
        kind = r.randrange(9)
        if kind < 4 or depth > 3:
            out.append("{{" + r.choice(["", "-"]) + f" {e} " + r.choice(["", "-"]) + "}}")
        elif kind == 4:
            out.append(tag(f"if {e}") + space() + statements(r, depth + 1) + tag("else") + statements(r, depth + 1) + space() + tag("endif"))
        elif kind == 5:
            inner = r.choice(["{{ m }}", "{{ loop.index }}", "{{ loop.last }}", "{{ loop.length }}", "{% set ns.a = m %}", "{% set n = loop.index0 %}{{ n }}",
                              "{% if loop.index > 2 %}{% break %}{% endif %}", "{% if m %}{% continue %}{% endif %}", "{{ loop.previtem }}", "{{ loop.nextitem }}", ""])
            out.append(tag(f"for m in {e}" + r.choice(["", "", f" if {expression(r, 3)}"])) + space() + inner + statements(r, depth + 1) + r.choice(["", tag("else") + "none"]) + space() + tag("endfor"))
        elif kind == 6:
            out.append(tag(f"set {r.choice(['n', 's', 'ns.a', 'q'])} = {e}"))
        elif kind == 7:
            out.append(tag(f"set {r.choice(['s', 'ns.a'])}" + r.choice(["", " | trim", " | upper"])) + space() + statements(r, depth + 1) + tag("endset"))
        else:
            out.append(tag("macro f(m, q=2)") + statements(r, depth + 1) + "{{ q }}" + tag("endmacro") + "{{ f(" + e + ") }}")
        out.append(space())
    return "".join(out)


def theirs(source, talk, texts):
    try:
        v = {k: x for k, x in talk.items() if k != "messages"}
        text = gen.hf.render_jinja_template([gen._normalize_chat_messages(talk["messages"])], chat_template=source, **texts, **v)[0][0]
        text.encode()
        return None if " at 0x" in text else text
    except RecursionError:
        raise
    except Exception as e:
        return None


class Probe:
    def __init__(self, path):
        self.p = subprocess.Popen([path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="utf-8")

    def ours(self, source, talk, texts):
        v = {"tools": None, "documents": None, "add_generation_prompt": False, **talk}
        self.p.stdin.write(json.dumps({"source": source, "variables": v, "texts": texts}) + "\n")
        self.p.stdin.flush()
        return json.loads(self.p.stdout.readline())


def compare(probe, source, talk, texts, count, name=""):
    a, b = theirs(source, talk, texts), probe.ours(source, talk, texts)
    same = b.get("text") == a
    count["equal" if same else "refused" if "error" in b else "other"] += 1
    if same:
        count["errors"] += a is None
    elif "error" in b:
        why = b["error"].split("\n")[0].split(": ", 1)[-1]
        count["why"].setdefault(why[:90], []).append(source)
    else:
        print(f"OTHER {name} {source!r}\n  theirs {a!r}\n  ours   {b['text']!r}")
    return same


def template_of(path):
    if os.path.isdir(path):
        file = os.path.join(path, "chat_template.jinja")
        if os.path.exists(file):
            return open(file, newline="").read()
        return json.load(open(os.path.join(path, "tokenizer_config.json")))["chat_template"]
    return open(path, newline="").read()


def main():
    p = argparse.ArgumentParser()
    p.add_argument("template", nargs="*")
    p.add_argument("--seconds", type=float, default=20)
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--probe", default=os.path.join(HERE, "../build/jinja_probe"))
    a = p.parse_args()
    probe, r = Probe(a.probe), random.Random(a.seed)
    count = {"equal": 0, "errors": 0, "refused": 0, "other": 0, "why": {}}
    talk = {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": " Yo "}], **VALUES}
    end = time.time() + a.seconds
    while time.time() < end:
        source = "{% set ns = namespace(a=1) %}" + statements(r) if r.random() < .5 else "{{ " + expression(r) + " }}"
        compare(probe, source, talk, {}, count)
    print("random templates: {equal} equal ({errors} of them errors), {refused} refused by us alone, {other} other".format(**count))
    for why, sources in sorted(count["why"].items(), key=lambda x: -len(x[1])):
        print(f"  refused {len(sources):5}: {why}    {min(sources, key=len)[:150]}")
    failed = count["other"]
    for path in a.template:
        count = {"equal": 0, "errors": 0, "refused": 0, "other": 0, "why": {}}
        for i, talk in enumerate(TALKS):
            compare(probe, template_of(path), talk, {"bos_token": "<s>", "eos_token": "</s>"}, count, f"{path}, conversation {i}")
        print(f"{path}: " + "{equal} equal ({errors} of them errors), {refused} refused by us alone, {other} other".format(**count),
              *(f"\n  refused {len(s)}: {why}" for why, s in count["why"].items()))
        failed += count["other"]
    return failed != 0


if __name__ == "__main__":
    sys.exit(main())
