#!/usr/bin/env python3
"""Does the page of build/serve do what a person expects, in a real browser?

    make && python3 test/serve_page.py [--pictures DIR] [--tmp DIR]         (needs Chromium: apt-get install chromium)

Keys, a pointer and a finger drive the page before a real server with tiny models trained here: at 1280 pixels in light,
at 390 in dark, with touch. --pictures: every state as it looked.
"""
import argparse
import json
import os
import re
import shutil
import sys
import tempfile
import urllib.error
import urllib.request

import browser
import peers
from peers import report

LONG = "What is it? " * 40                     # beyond a context of 128
NAMES = ["base", "other", "plain", "tags"]
# What a page must never do with the words of a model or of a person.
TAG = '<img src="x" onerror="document.title=1"><b>Mia</b>'
# Contrast of an element's letters with what is behind them (WCAG: 4.5 for small ones).
CONTRAST = """(selector => {
  const rgb = c => c.match(/[\\d.]+/g).map(Number), gamma = v => v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4;
  const light = c => .2126 * gamma(c[0] / 255) + .7152 * gamma(c[1] / 255) + .0722 * gamma(c[2] / 255);
  const seen = [...document.querySelectorAll(selector)].filter(e => e.innerText && e.offsetParent && !e.disabled);
  return Math.min(...seen.map(e => {
    let back = e, c;
    do { c = rgb(getComputedStyle(back).backgroundColor); back = back.parentElement; } while (c[3] === 0);
    const a = light(rgb(getComputedStyle(e).color)), b = light(c);
    return (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
  }));
})"""


def change(path, act):
    with open(path) as f:
        value = json.load(f)
    act(value)
    with open(path, "w") as f:
        json.dump(value, f)


def models(tmp):
    """Four folders: one of them twice, without its chat template, and one that has read tags alone."""
    base = peers.tiny_model(tmp)
    folders = [base] + [os.path.join(tmp, n) for n in NAMES[1:3]]
    for f in folders[1:]:
        shutil.copytree(base, f)
    change(os.path.join(folders[1], "stage.json"), lambda stage: stage.pop("system"))
    change(os.path.join(folders[2], "tokenizer_config.json"), lambda config: config.pop("chat_template"))
    text = peers.write_lines(os.path.join(tmp, "tags.jsonl"), [{"text": TAG * 4}] * 300)
    tags = os.path.join(tmp, "tags")
    peers.ours("train_gpt", "--data", text, "--vocab", 300, "--depth", 2, "--seq", 128, "--steps", 40, "--batch", 8,
               "--out", tags, "--report", "off")
    return folders + [tags]


class Page:
    """The page in a browser before a server; pictures of its states."""

    def __init__(self, b, served, name, pictures):
        self.b, self.served, self.name, self.pictures = b, served, name, pictures

    def picture(self, state):
        if self.pictures:
            self.b.picture(os.path.join(self.pictures, f"{self.name}_{state}.png"))

    def check(self, good, what, text=""):
        report(good, f"{self.name}: {what}", " ".join(str(text).split()))

    def open(self):
        self.b.open(self.served.url + "/")
        return self.b.wait("models.length == %d && !document.querySelector('#send').disabled" % len(NAMES))

    def choose(self, select, value):
        self.b.js("(e => { e.value = %s; e.dispatchEvent(new Event('input', {bubbles: true})); })"
                  "(document.querySelector(%s))" % (json.dumps(value), json.dumps(select)))

    def ask(self, text, wait=True):
        self.b.js("document.querySelector('#text').focus()")
        self.b.type(text)
        self.b.press("Enter")
        return not wait or self.b.wait("!running")

    def said(self, turn=-1, side=0):
        return self.b.js("[...document.querySelectorAll('.log:not([hidden]) .turn')].at(%d)"
                         ".querySelectorAll('.said')[%d].textContent" % (turn, side))

    def sent(self):
        """The last request with a body."""
        return json.loads([body for _, _, body in self.b.requests if body][-1])

    def fits(self):
        return self.b.js("document.documentElement.scrollWidth <= innerWidth && [...document.querySelectorAll("
                         "'.log:not([hidden])')].every(l => l.scrollWidth <= l.clientWidth)")


def post(url, body):
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request) as r:
        return json.load(r)


# ---- one model ----


def check_chat(p):
    b = p.b
    p.check(p.open() and p.fits(), "opens", b.text(".log:not([hidden]) h2"))
    p.check("never saw one" in b.text("#told"), "a model that was trained without a system prompt", b.text("#told"))
    p.choose("#one", "other")
    p.check(b.text("#told") == "", "one of which nobody knows")
    p.choose("#one", "base")
    p.picture("1_empty")
    names = b.call("Accessibility.getFullAXTree")["nodes"]
    kinds = {"button", "textbox", "combobox", "checkbox", "slider", "spinbutton"}
    bare = [n["role"]["value"] for n in names if n.get("role", {}).get("value") in kinds and not n.get("ignored") and
            not n.get("name", {}).get("value")]
    p.check(not bare, "everything that can be operated has a name", str(bare))
    p.choose("#temperature", "0")
    p.choose("#max_tokens", "24")
    b.js("document.querySelector('#text').focus()")
    b.type("Mia asks:")
    b.press("Enter", shift=True)
    p.check(b.js("document.querySelector('#text').value") == "Mia asks:\n" and not b.js("talks.chat"),
            "Shift+Enter is a new line")
    p.check(p.ask("what is it?"), "Enter sends", p.said()[:60])
    p.check(b.text(".you") == "Mia asks:\nwhat is it?", "the question stands there", b.text(".you"))
    request = {k: v for k, v in p.sent().items() if k not in ("stream", "stream_options")}
    whole = post(p.served.url + "/v1/chat/completions", request)["choices"][0]
    spans = b.js("document.querySelectorAll('.token').length")
    p.check(p.said() == whole["message"]["content"] and spans == len(whole["logprobs"]["content"]) > 10,
            "the answer is the server's, token by token", f"{spans} tokens")
    p.picture("2_answer")
    return whole["logprobs"]["content"]


def check_odds(p, tokens, touch):
    b = p.b
    (b.tap if touch else b.hover)(".said .token", 2)
    chosen = "#odds .chosen span:last-of-type"
    p.check(b.wait("!document.querySelector('#odds').hidden", 3), "probabilities appear", b.text("#odds"))
    expected = [100 * 2.718281828459045**t["logprob"] for t in tokens]
    shown = float(b.text(chosen).split()[0])
    p.check(abs(shown - expected[2]) < 0.06, "they are the server's", f"{shown} % of {expected[2]:.4f} %")
    p.check(b.js("document.querySelectorAll('#odds .row').length") == 5, "and what else could have come")
    p.picture("3_odds")
    inside = b.js("(r => r.left >= 0 && r.top >= 0 && r.right <= innerWidth && r.bottom <= innerHeight)"
                  "(document.querySelector('#odds').getBoundingClientRect())")
    p.check(inside and p.fits(), "within the window")
    b.js("document.querySelector('.said').focus()")
    b.press("Home")
    b.press("ArrowRight")
    shown = float(b.text(chosen).split()[0])
    p.check(abs(shown - expected[1]) < 0.06 and "%" in b.text("#status"), "arrow keys walk, and it is read out",
            b.text("#status"))
    b.press("Escape")
    p.check(b.js("document.querySelector('#odds').hidden"), "Escape puts it away")


def check_conversation(p):
    b, first = p.b, p.said()
    p.check(p.ask("And then?") and [m["role"] for m in p.sent()["messages"]] == ["user", "assistant", "user"] and
            p.sent()["messages"][1]["content"] == first, "the conversation goes on")
    second = p.said()
    b.click(".turn:last-child .again")
    p.check(b.wait("!running") and p.said() == second and b.js("document.querySelectorAll('.turn').length") == 2,
            "regenerate, greedy: the same")
    p.choose("#temperature", "1.5")
    drawn = set()
    for _ in range(4):
        b.click(".turn:last-child .again")
        b.wait("!running")
        drawn.add(p.said())
    p.check(len(drawn) > 1, "regenerate, hot: another answer", f"{len(drawn)} of 4 differ")
    facts = b.text(".turn:last-child .facts")
    seed = int(re.search(r"seed (\d+)", facts)[1])
    p.choose("#seed", str(seed))
    again = p.said()
    b.click(".turn:last-child .again")
    p.check(b.wait("!running") and p.said() == again, "the seed that is shown gives that answer again", facts)
    p.choose("#seed", "")
    p.choose("#system", "Be brief.")
    p.choose("#top_p", "0.5")
    b.click(".turn:last-child .again")
    b.wait("!running")
    p.check(p.sent()["messages"][0] == {"role": "system", "content": "Be brief."} and p.sent()["top_p"] == 0.5,
            "system prompt and top-p are sent")
    p.choose("#system", "")
    b.call("Browser.grantPermissions", permissions=["clipboardReadWrite", "clipboardSanitizedWrite"])
    b.click(".turn:last-child .facts button")
    p.check(b.wait("document.querySelector('.turn:last-child .facts button').textContent == 'Copied'", 3) and
            b.js("navigator.clipboard.readText()") == p.said(), "copy")


def check_stop(p):
    b = p.b
    b.call("Network.emulateNetworkConditions", offline=False, latency=0, downloadThroughput=6000, uploadThroughput=-1)
    p.choose("#max_tokens", "60")
    b.click("#clear")
    for how in "Stop", "Escape":
        p.ask(f"{how}?", wait=False)
        b.wait("document.querySelectorAll('.turn:last-child .token').length > 3")
        p.picture("4_writing_" + how)
        b.click("#send") if how == "Stop" else b.press("Escape")
        gone = b.wait("!running", 5)
        b.wait("false", 0.3)
        n = b.js("document.querySelectorAll('.turn:last-child .token').length")
        p.check(gone and 3 < n < 55 and "stopped" in b.text(".turn:last-child .facts") and b.text("#send") == "Send",
                f"{how} stops", b.text(".turn:last-child .facts"))
    b.call("Network.emulateNetworkConditions", offline=False, latency=0, downloadThroughput=-1, uploadThroughput=-1)


def check_errors(p):
    b = p.b
    p.ask(LONG)
    said = b.text(".turn:last-child .trouble") or ""
    p.check("128" in said and b.js("document.querySelector('.trouble').getAttribute('role')") == "alert" and p.fits(),
            "the server's refusal is shown", said[:150])
    p.picture("5_error")
    b.click(".turn:last-child .trouble button", 1)
    p.check(b.wait("!running && document.querySelectorAll('.over').length == 1"),
            "the oldest question can be forgotten", b.text(".over"))
    p.check(len(p.sent()["messages"]) % 2 == 1 and p.sent()["messages"][0]["content"] != "Stop?",
            "and is not sent any more")
    b.js("window.real = window.fetch, window.fetch = () => Promise.reject(new TypeError('Failed to fetch')), 0")
    p.ask("Anybody there?")
    said = b.text(".turn:last-child .trouble") or ""
    p.check("build/serve" in said, "a server that has gone is said", said)
    b.js("window.fetch = window.real, 0")
    b.click(".turn:last-child .trouble button")
    p.check(b.wait("!running") and not b.js("document.querySelector('.turn:last-child .trouble')"), "and tried again")
    b.js("openSide(false)")
    b.click("#clear")
    p.check(b.js("!talks.chat && document.querySelectorAll('.turn').length === 0"), "clear", b.text(".empty h2"))
    p.choose("#max_tokens", "0")
    p.ask("Nothing?", wait=False)
    p.check(not b.js("talks.chat") and b.js("document.querySelector('#max_tokens').matches(':invalid')"),
            "a setting that is none is not sent")
    p.choose("#max_tokens", "24")
    b.js("openSide(false), document.querySelector('#text').value = ''")


def check_words(p):
    """Neither a model's words nor a person's are HTML; a model without a template completes."""
    b = p.b
    p.choose("#one", "tags")
    b.js("document.querySelector('#complete').click()")
    p.choose("#temperature", "0")
    p.choose("#max_tokens", "60")
    p.ask(TAG + "<img")
    said = p.said()
    made = b.js("document.querySelectorAll('.log img, .log b:not(.trouble b)').length")
    p.check("onerror" in said and "<b>" in said and made == 0 and b.js("document.title") == "Chat", "tags are text",
            said[:60])
    p.check(p.sent()["prompt"] == TAG + "<img" and "messages" not in p.sent(), "a text is completed, no template")
    (b.tap if p.name == "phone" else b.hover)(".turn:last-child .token", 1)
    p.check(not b.js("document.querySelector('#odds img, #odds b')") and "%" in (b.text("#odds") or ""), "there, too")
    b.press("Escape")
    p.picture("6_tags")
    b.js("document.querySelector('#complete').click()")
    p.choose("#one", "plain")
    p.ask("Mia likes")
    p.check(p.sent()["prompt"] == "Mia likes" and len(p.said()) > 4, "a model without a template completes",
            p.said()[:40])


# ---- two models ----


def check_arena(p, votes):
    b, press = p.b, p.b.tap if p.name == "phone" else p.b.click
    press("#to-arena")
    b.wait("document.querySelectorAll('#elo tbody tr').length == %d" % len(NAMES), 5)
    p.choose("#left", "base")
    p.choose("#right", "other")
    p.choose("#temperature", "1")
    p.picture("7_arena")
    p.ask("Ted asks: what is it?")
    p.check(p.said(side=0) and p.said(side=1) and p.fits(), "two answer",
            f"{p.said(side=0)[:30]!r}, {p.said(side=1)[:30]!r}")
    told = b.text("#arena")
    p.check(not any(n in told for n in NAMES) and "a second" not in told and b.text("#arena h3") == "A",
            "nobody sees who it is", told[-60:])
    p.picture("8_before")
    press(".vote button", 0)
    b.wait("talks.arena.closed", 5)
    told, winner = b.text("#arena"), b.js("talks.arena.sides[0]")
    with open(votes) as f:
        line = json.loads(f.read().splitlines()[-1])
    p.check(line["a"] == winner and line["winner"] == "a" and line["prompt"] == "Ted asks: what is it?" and
            line["answers"] == [p.said(side=0), p.said(side=1)], "the vote is kept", str(line)[:120])
    p.check("A: " + winner in told and "base" in told and "other" in told, "then the names", told[-90:])
    with urllib.request.urlopen(p.served.url + "/api/elo") as r:
        table = json.load(r)
    first = next(r for r in table if r["model"] == winner)
    shown = b.js("[...document.querySelectorAll('#elo tbody tr')].map(r => [...r.cells].map(c => c.textContent))")
    row = next(r for r in shown if r[0] == winner)
    p.check(row[1] == str(round(first["elo"])) and row[3] == str(first["games"]) and row[2].strip().startswith("+"),
            "Elo as the server has it", str(shown))
    p.picture("9_after")
    sides = set()
    for i in range(12):
        p.ask(f"Question {i}?")
        sides.add(b.js("talks.arena.sides[0]"))
        press(".vote button", 4)
        if len(sides) == 2:
            break
    p.check(sides == {"base", "other"}, "who is A is drawn", f"{i + 1} games")
    p.check(sum(r["games"] for r in table) == 2 * len(open(votes).read().splitlines()), "looking counts no vote")
    p.ask("First?")
    p.ask("And then?")
    p.check(p.sent()["messages"][0]["content"] == "First?" and b.js("talks.arena.turns.length") == 2,
            "a game may have several questions")
    press(".vote button", 1)
    b.wait("talks.arena.closed", 5)
    with open(votes) as f:
        p.check(json.loads(f.read().splitlines()[-1])["winner"] == "tie", "a tie")


def check_looks(p):
    b = p.b
    ratio = b.js(CONTRAST + "('.key, .you, .token, .facts span, h3, .quiet, label, #send, .modes button')")
    p.check(ratio and ratio >= 4.5, "letters can be read", f"contrast {ratio:.1f} or more")
    if p.name == "phone":
        b.tap("#open")
        p.check(b.js("document.querySelector('#side').offsetWidth == innerWidth") and p.fits(), "settings open")
        p.picture("settings")
        ratio = b.js(CONTRAST + "('aside .key, aside label, aside td, aside select')")
        p.check(ratio >= 4.5, "settings can be read", f"contrast {ratio:.1f} or more")
        small = b.js("[...document.querySelectorAll('aside select, aside input[type=number], #send, .modes button')]"
                     ".filter(e => e.offsetParent && e.getBoundingClientRect().height < 32).length")
        p.check(small == 0, "what is tapped is large enough")
    kept = b.js("localStorage.getItem('serve')")
    p.choose("#temperature", "0.3")
    b.js("(kept => localStorage.setItem('serve', JSON.stringify({...kept, max_tokens: 999})))"
         "(JSON.parse(localStorage.getItem('serve')))")
    p.open()
    p.check(b.js("document.querySelector('#max_tokens').value") == "128", "no more tokens than the context")
    p.check(kept and b.js("document.querySelector('#temperature').value") == "0.3" and b.text("#title") == "Arena",
            "settings are kept")
    trouble = [x for x in b.log if " 400 " not in x and "Failed to fetch" not in x]
    p.check(not trouble, "the browser complains of nothing", str(trouble))
    outside = [url for _, url, _ in b.requests if not url.startswith((p.served.url, "data:", "about:"))]
    p.check(not outside, "nothing is fetched from elsewhere", str(outside))


def check_elsewhere(served):
    """A page of another site may not use the server through the browser."""
    for what, header in ("another origin", ("Origin", "http://example.com")), ("another name", ("Host", "example.com")):
        request = urllib.request.Request(served.url + "/v1/models", headers=dict([header]))
        try:
            code = urllib.request.urlopen(request).status
        except urllib.error.HTTPError as e:
            code = e.code
        report(code == 403, f"{what} is refused", str(code))


def main():
    o = argparse.ArgumentParser(description="Does the page of build/serve do what a person expects?")
    o.add_argument("--pictures", help="a folder for what it looked like")
    o.add_argument("--tmp", help="where the temporary folder goes")
    o = o.parse_args()
    peers.need_serve("serve_page.py")
    if not browser.chromium():
        print("SKIP: serve_page.py: there is no Chromium (apt-get install chromium; or CHROMIUM=its path)")
        sys.exit(0)
    if o.pictures:
        os.makedirs(o.pictures, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="page", dir=o.tmp) as tmp:
        votes = os.path.join(tmp, "votes.jsonl")
        with peers.Served(*models(tmp), log=os.path.join(tmp, "log"), flags=["--votes", votes]) as served:
            check_elsewhere(served)
            for name, width, height, touch in ("desktop", 1280, 800, False), ("phone", 390, 844, True):
                with browser.Browser(width, height, dark=touch, touch=touch) as b:
                    p = Page(b, served, name, o.pictures)
                    tokens = check_chat(p)
                    check_odds(p, tokens, touch)
                    check_conversation(p)
                    check_stop(p)
                    check_errors(p)
                    check_words(p)
                    check_arena(p, votes)
                    check_looks(p)
    peers.finish()


if __name__ == "__main__":
    main()
