#!/usr/bin/env python3
"""Do the clients that people have get from build/serve what transformers computes?

    make && python3 test/serve_clients.py [--model DIR] [--tmp DIR]   (torch, transformers, openai, lm-eval[api])

1. The `openai` package: chat, streams, completions, log-probabilities, echo, several answers, stop texts, errors, a
   client that leaves; greedy answers are build/chat's and transformers', log-probabilities transformers' to 1e-3.
2. Eight clients at once: each is told what it is told alone; how many tokens a second that is.
3. lm-eval, local-completions and local-chat-completions, on tasks of our own (multiple choice, rolling log-likelihood,
   generated answers): the scores that lm-eval computes with transformers from the same folder, to 1e-3.
"""
import argparse
import json
import logging
import os
import tempfile
import threading
import time

import peers

peers.need("serve_clients.py", "torch", "transformers", "datasets", "openai", "lm_eval", "tenacity", "aiohttp")
peers.need_serve("serve_clients.py")

import datasets
import lm_eval
import openai
import torch
import transformers
from lm_eval.models.huggingface import HFLM
from lm_eval.tasks import TaskManager
from peers import WHAT, WHO, report

logging.disable(logging.WARNING)
datasets.disable_progress_bars()
TOLERANCE = 1e-3
QUESTIONS = [f"{who} asks: what is it? No. {i}" for i, who in enumerate(WHO * 2)]


class Theirs:
    """The same folder in transformers."""

    def __init__(self, folder):
        self.tok = transformers.AutoTokenizer.from_pretrained(folder)
        self.model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()

    def ids(self, question):
        talk = [{"role": "user", "content": question}]
        return list(self.tok.apply_chat_template(talk, add_generation_prompt=True, tokenize=True, return_dict=False))

    def greedy(self, ids, most):
        with torch.no_grad():
            out = self.model.generate(torch.tensor([ids]), max_new_tokens=most, do_sample=False)
        return self.tok.decode(out[0, len(ids):], skip_special_tokens=True)

    def log_probabilities(self, ids):
        """(len(ids) - 1, V): of each id but the first."""
        with torch.no_grad():
            return torch.log_softmax(self.model(torch.tensor([ids])).logits[0, :-1].float(), -1)


def gap(ours, theirs):
    """The largest difference; nan where they are not even of one length."""
    return max((abs(a - b) for a, b in zip(ours, theirs)), default=0) if len(ours) == len(theirs) else float("nan")


def chat(client, name, question, **how):
    how = {"temperature": 0, "max_tokens": 24, **how}
    return client.chat.completions.create(model=name, messages=[{"role": "user", "content": question}], **how)


# ---- 1. the openai package ----


def check_chat(client, name, folder, theirs):
    said = [chat(client, name, q).choices[0].message.content for q in QUESTIONS]
    expected = [theirs.greedy(theirs.ids(q), 24) for q in QUESTIONS]
    report(said == expected and any(said), "chat, greedy", f"{len(said)} answers as transformers: {said[0][:50]!r}")
    console, _ = peers.ours("build/chat", "--model", folder, "-p", QUESTIONS[0], "--temperature", 0, "--max-tokens", 24)
    report(console == said[0] + "\n", "chat, greedy", f"as build/chat: {console[:50]!r}")
    whole = chat(client, name, QUESTIONS[0])
    u = whole.usage
    report(u.prompt_tokens == len(theirs.ids(QUESTIONS[0])) and 0 < u.completion_tokens <= 24 and
           u.total_tokens == u.prompt_tokens + u.completion_tokens, "usage",
           f"{u.prompt_tokens} + {u.completion_tokens}")
    parts = list(chat(client, name, QUESTIONS[0], stream=True, stream_options=dict(include_usage=True)))
    text = "".join(c.choices[0].delta.content or "" for c in parts if c.choices)
    report(text == said[0] and len(parts) > 10 and parts[-1].usage == u and not parts[-1].choices, "stream",
           f"{len(parts)} chunks, together the whole answer, usage at the end")
    drawn = [chat(client, name, QUESTIONS[0], temperature=1, seed=s, top_p=0.95).choices[0].message.content
             for s in (1, 1, 2, 3, 4)]
    report(drawn[0] == drawn[1] and len(set(drawn)) > 1, "seed", "the same one says the same, others something else")
    cut = chat(client, name, QUESTIONS[0], stop=[said[0][4:7]])
    report(cut.choices[0].message.content == said[0][:said[0].index(said[0][4:7])] and
           cut.choices[0].finish_reason == "stop", "stop", f"{cut.choices[0].message.content!r}")
    parts = chat(client, name, QUESTIONS[0], stop=[said[0][4:7], "never"], stream=True)
    text = "".join(c.choices[0].delta.content or "" for c in parts if c.choices)
    report(text == cut.choices[0].message.content, "stop in a stream", f"{text!r}: nothing of the stop text")
    short = chat(client, name, QUESTIONS[0], max_completion_tokens=3, max_tokens=None).choices[0]
    report(short.finish_reason == "length" and said[0].startswith(short.message.content), "length",
           f"{short.message.content!r}")
    many = chat(client, name, QUESTIONS[0], n=3, temperature=1, seed=7).choices
    again = chat(client, name, QUESTIONS[0], n=3, temperature=1, seed=7).choices
    texts = [c.message.content for c in many]
    report([c.index for c in many] == [0, 1, 2] and len(set(texts)) > 1 and
           texts == [c.message.content for c in again], "n", f"{len(set(texts))} answers of 3 differ, twice the same")


def check_log_probabilities(client, name, theirs):
    said = chat(client, name, QUESTIONS[0], logprobs=True, top_logprobs=4).choices[0]
    ids = theirs.ids(QUESTIONS[0])
    new = theirs.tok.encode(said.message.content, add_special_tokens=False)
    z = theirs.log_probabilities(ids + new)[len(ids) - 1:]
    tokens = said.logprobs.content
    expected = [z[i, t].item() for i, t in enumerate(new)]
    worst = gap([t.logprob for t in tokens], expected)
    tops = gap([a.logprob for t in tokens for a in t.top_logprobs],
               [x for row in z.topk(4, -1).values.tolist() for x in row])
    text = b"".join(bytes(t.bytes) for t in tokens).decode()
    report(worst <= TOLERANCE and tops <= TOLERANCE and text == said.message.content, "log-probabilities of chat",
           f"{len(tokens)} tokens within {worst:.0e}, 4 likeliest within {tops:.0e}")
    drawn = chat(client, name, QUESTIONS[0], logprobs=True, temperature=3, top_p=0.5, seed=3).choices[0]
    new = theirs.tok.encode(drawn.message.content, add_special_tokens=False)
    if b"".join(bytes(t.bytes) for t in drawn.logprobs.content) == drawn.message.content.encode():
        z = theirs.log_probabilities(ids + new)[len(ids) - 1:]
        first = abs(drawn.logprobs.content[0].logprob - z[0, new[0]].item())
        report(first <= TOLERANCE, "log-probabilities, hot", f"the model's own, whatever the temperature: {first:.0e}")


def check_completions(client, name, theirs):
    text = f"{WHO[0]} likes"
    ids = theirs.tok.encode(text)

    def ask(prompt, **how):
        return client.completions.create(model=name, prompt=prompt, **{"temperature": 0, "max_tokens": 12, **how})
    expected = theirs.greedy(ids, 12)
    said = [ask(text).choices[0].text, ask(ids).choices[0].text]
    both = [c.text for c in ask([text, f"{WHO[1]} asks"]).choices]
    lists = [c.text for c in ask([ids, ids[:-1]]).choices]
    report(said == [expected] * 2 and both[0] == expected and lists[0] == expected and len(both) == len(lists) == 2,
           "completions", f"a text, ids, a list of texts, of ids: {expected!r}")
    parts = "".join(c.choices[0].text for c in ask(text, stream=True) if c.choices)
    report(parts == expected, "completions, a stream", repr(parts))
    scored = ask(text + expected, echo=True, logprobs=3, max_tokens=1).choices[0]
    all_ids = theirs.tok.encode(text + expected)
    z = theirs.log_probabilities(all_ids)
    l = scored.logprobs
    worst = gap(l.token_logprobs[1:len(all_ids)], [z[i, t].item() for i, t in enumerate(all_ids[1:])])
    tops = gap([max(t.values()) for t in l.top_logprobs[1:len(all_ids)]], z.max(-1).values.tolist())
    whole = l.token_logprobs[0] is None and len(l.tokens) == len(all_ids) + 1
    offsets = all(scored.text[o:].startswith(t) for t, o in zip(l.tokens, l.text_offset) if t[:2] != "<|")
    report(worst <= TOLERANCE and tops <= TOLERANCE and whole and offsets and scored.text.startswith(text + expected),
           "echo", f"{len(all_ids)} tokens within {worst:.0e}, the likeliest within {tops:.0e}")
    spelled = ask("<|im_start|>user\nwho?<|im_end|>\n", echo=True, logprobs=0, max_tokens=0).choices[0].logprobs.tokens
    report(spelled == theirs.tok.batch_decode([[t] for t in theirs.tok.encode("<|im_start|>user\nwho?<|im_end|>\n")]),
           "special tokens in a text", " ".join(map(repr, spelled)))
    nothing = ask([ids, all_ids], echo=True, logprobs=0, max_tokens=0)
    report([len(c.logprobs.tokens) for c in nothing.choices] == [len(ids), len(all_ids)] and
           nothing.choices[0].text == text, "echo, nothing said", f"{len(nothing.choices)} prompts scored")


def refusal(act, kind, *words):
    """What the client is told; None where it is told something else."""
    try:
        act()
    except kind as e:
        return str(e) if all(w in str(e) for w in words) else None
    return None


def check_errors(client, name, served):
    context = client.models.list().data[0].max_model_len
    long = "What is it? " * context
    tool = {"type": "function", "function": {"name": "f", "parameters": {}}}
    cases = {
        "an unknown model": (lambda: chat(client, "gpt-9", "hello"), openai.NotFoundError, "gpt-9", "/v1/models"),
        "a long prompt": (lambda: chat(client, name, long), openai.BadRequestError, "context", str(context)),
        "tools": (lambda: chat(client, name, "hello", tools=[tool]), openai.BadRequestError, "tools"),
        "a JSON answer": (lambda: chat(client, name, "hello", response_format={"type": "json_object"}),
                          openai.BadRequestError, "response_format"),
        "a penalty": (lambda: chat(client, name, "hello", frequency_penalty=0.5), openai.BadRequestError,
                      "frequency_penalty"),
        "a temperature": (lambda: chat(client, name, "hello", temperature=-1), openai.BadRequestError, "temperature"),
        "no messages": (lambda: client.chat.completions.create(model=name, messages=[]), openai.BadRequestError,
                        "messages"),
        "an image": (lambda: chat(client, name, [{"type": "image_url", "image_url": {"url": "data:,"}}]),
                     openai.BadRequestError, "content"),
        "an id beyond": (lambda: client.completions.create(model=name, prompt=[5, 1 << 30]), openai.BadRequestError,
                         "prompt"),
        "embeddings": (lambda: client.embeddings.create(model=name, input="x"), openai.NotFoundError, "/v1/"),
    }
    for what, (act, kind, *words) in cases.items():
        said = refusal(act, kind, *words)
        report(said, f"refused: {what}", (said or "not as it should be")[:150])
    neutral = chat(client, name, "hello", frequency_penalty=0, user="me", extra_body={"tools": [], "logit_bias": {}})
    report(neutral.choices[0].message.content is not None, "accepted", "what asks for nothing")
    for part in chat(client, name, QUESTIONS[0], stream=True, max_tokens=100, temperature=1, seed=1):
        break                           # the client leaves
    report(chat(client, name, QUESTIONS[0]).choices[0].message.content and served.process.poll() is None,
           "a client leaves", "the next is answered")
    found = [m.id for m in client.models.list()]
    report(found == [name], "models", str(found))


# ---- 2. eight at once ----


def check_eight(client, name):
    """Each alone, then all at once: the same words; and how fast."""
    def ask(i):
        r = chat(client, name, QUESTIONS[i], max_tokens=64, temperature=1, seed=i, logprobs=True)
        return [(t.token, t.logprob) for t in r.choices[0].logprobs.content], r.usage.completion_tokens
    began = time.time()
    alone = [ask(i) for i in range(8)]
    middle = time.time()
    at_once, trouble = [[None] * 3 for _ in range(8)], []
    def several(i):
        try:
            for k in range(3):
                at_once[i][k] = ask(i)
        except Exception as e:
            trouble.append(repr(e))
    threads = [threading.Thread(target=several, args=(i,)) for i in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    end = time.time()
    same = all(at_once[i][k] == alone[i] for i in range(8) for k in range(3))
    words = all(r and [t for t, _ in r[0]] == [t for t, _ in alone[i][0]] for i in range(8) for r in at_once[i])
    tokens = sum(n for _, n in alone)
    slow, fast = tokens / (middle - began), 3 * tokens / (end - middle)
    report(not trouble and words, "eight clients at once", f"{trouble or 'no error'}; the same words as alone, "
           f"log-probabilities {'equal to the bit' if same else 'not to the bit'}; {fast:.0f} tokens/s, "
           f"one after the other {slow:.0f}")


# ---- 3. lm-eval ----


def task_files(tmp):
    choice = [{"prompt": f"{WHO[i % 4]} likes", "choices": [f" {w}." for w in WHAT], "answer": i % 4} for i in range(8)]
    said = [{"question": f"{WHO[i % 4]} asks: what is it? It is", "answer": WHAT[i % 4]} for i in range(8)]
    text = [{"page": f"{WHO[i % 4]} likes {WHAT[i % 3]}. Then {WHO[i % 3]} asks: what is it? It is {WHAT[i % 4]}."}
            for i in range(4)]
    rows = {"choice": choice, "said": said, "text": text}
    return {k: peers.write_lines(os.path.join(tmp, k + ".jsonl"), v) for k, v in rows.items()}


def mean(*metrics):
    return [{"metric": m, "aggregation": "mean", "higher_is_better": True} for m in metrics]


TASK = {
    "choice": {"output_type": "multiple_choice", "doc_to_text": "{{prompt}}", "doc_to_target": "answer",
               "doc_to_choice": "choices", "target_delimiter": "", "metric_list": mean("acc", "acc_norm")},
    "text": {"output_type": "loglikelihood_rolling", "doc_to_text": "", "doc_to_target": "{{page}}", "metric_list":
             [{"metric": m} for m in ("word_perplexity", "byte_perplexity", "bits_per_byte")]},
    "said": {"output_type": "generate_until", "doc_to_text": "{{question}}", "doc_to_target": "{{answer}}",
             "generation_kwargs": {"until": [".", ","], "max_gen_toks": 12, "temperature": 0, "do_sample": False},
             "metric_list": mean("exact_match"), "filter_list":
             [{"name": "stripped", "filter": [{"function": "remove_whitespace"}, {"function": "take_first"}]}]},
}


def evaluate(model, tasks, folder, **how):
    """{task: (scores, [answers of an item])}"""
    run = lm_eval.simple_evaluate(model=model, tasks=["ours_" + t for t in tasks], log_samples=True, bootstrap_iters=0,
                                  num_fewshot=0, task_manager=TaskManager(include_path=folder, include_defaults=False),
                                  **how)
    out = {}
    for t in tasks:
        scores = {k: v for k, v in run["results"]["ours_" + t].items() if isinstance(v, float)}
        samples = sorted(run["samples"]["ours_" + t], key=lambda s: s["doc_id"])
        out[t] = scores, [s["resps"] for s in samples]
    return out


def numbers(x):
    """All numbers and texts in what lm-eval keeps of an item."""
    return [y for part in x for y in numbers(part)] if isinstance(x, (list, tuple)) else [x]


def compare(kind, mine, other):
    for task, (scores, answers) in mine.items():
        expected, theirs = other[task]
        a, b = numbers(answers), numbers(theirs)
        words = [x for x in a if not isinstance(x, float)] == [x for x in b if not isinstance(x, float)]
        likely = gap([x for x in a if isinstance(x, float)], [x for x in b if isinstance(x, float)])
        worst = max(abs(scores[k] - expected[k]) / max(1, abs(expected[k])) for k in expected)
        report(scores.keys() == expected.keys() and scores and worst <= TOLERANCE and likely <= TOLERANCE and words,
               f"lm-eval {kind}, {task}", f"{len(answers)} items, log-likelihoods within {likely:.0e}; " + ", ".join(
                   f"{k.split(',')[0]} {scores[k]:.4f} (transformers {expected[k]:.4f})" for k in sorted(scores)))


def check_lm_eval(served, name, folder, tmp):
    tasks = os.path.join(tmp, "tasks")
    os.makedirs(tasks)
    for task, path in task_files(tmp).items():
        body = {"task": "ours_" + task, "dataset_path": "json", "validation_split": "validation",
                "dataset_kwargs": {"data_files": {"validation": path}}, **TASK[task]}
        with open(os.path.join(tasks, task + ".yaml"), "w") as f:
            json.dump(body, f)          # JSON is YAML
    hf = HFLM(pretrained=folder, dtype="float32", device="cpu", batch_size=4)
    # as transformers opens a text; without it lm-eval's API models leave <|endoftext|> out
    opens = bool(hf.tok_encode("")) and "add_bos_token=True" or "add_bos_token=False"
    common = f"model={name},tokenizer={folder},max_length=128,max_retries=1,{opens}"
    theirs = evaluate(hf, TASK, tasks)
    for how in "tokenized_requests=True,num_concurrent=4,batch_size=1", "tokenized_requests=False,batch_size=4":
        where = f"base_url={served.url}/v1/completions,tokenizer_backend=huggingface"
        compare("local-completions " + how.split(",")[0], evaluate("local-completions", TASK, tasks,
                model_args=f"{where},{common},{how}"), theirs)
    talks = evaluate(hf, ["said"], tasks, apply_chat_template=True)
    compare("local-chat-completions", evaluate("local-chat-completions", ["said"], tasks, apply_chat_template=True,
            model_args=f"base_url={served.url}/v1/chat/completions,{common},num_concurrent=4"), talks)


def main():
    p = argparse.ArgumentParser(description="Do the clients that people have get what transformers computes?")
    p.add_argument("--model", help="a folder; none: a tiny one, trained here")
    p.add_argument("--tmp", help="where the temporary folder goes")
    o = p.parse_args()
    with tempfile.TemporaryDirectory(prefix="serve", dir=o.tmp) as tmp:
        os.environ["HF_DATASETS_CACHE"] = datasets.config.HF_DATASETS_CACHE = os.path.join(tmp, "cache")
        folder = os.path.abspath(o.model or peers.tiny_model(tmp))
        name, theirs = os.path.basename(folder), Theirs(folder)
        votes = ["--votes", os.path.join(tmp, "votes")]
        with peers.Served(folder, log=os.path.join(tmp, "log"), flags=votes) as served:
            client = openai.OpenAI(base_url=served.url + "/v1", api_key="none", max_retries=0, timeout=120)
            check_chat(client, name, folder, theirs)
            check_log_probabilities(client, name, theirs)
            check_completions(client, name, theirs)
            check_errors(client, name, served)
            check_eight(client, name)
            check_lm_eval(served, name, folder, tmp)
            code = served.end()
            report(code == 0, "Ctrl-C", f"the server ends with {code}")
    peers.finish()


if __name__ == "__main__":
    main()
