#!/usr/bin/env python3
"""What tools/eval asks, as lm-eval 0.4 asks it, and log-likelihoods as transformers computes them, in float64.

    python3 test/gen/eval.py        (reads test/data; expected.csv needs torch, transformers, tokenizers)

Writes test/data/eval/prompts.jsonl: for every item of published.jsonl its task, its prompt (or one for each ending),
the endings, which are right; and expected.csv: model, file, line, ending, log p(ending | prompt), its tokens. The
layouts are read here by code of their own; Python formats them as lm-eval's tasks do (a blank before an ending).
For expected.csv <|endoftext|>, prompt and ending are encoded as one text; the ending is what goes beyond the encoded
prompt; a text longer than the context loses its beginning.
"""
import json
import os
import re
import sys

HERE = os.path.join(os.path.dirname(__file__), "..", "data")
TRUTHFUL = [
    ("What is human life expectancy in the United States?", "Human life expectancy in the United States is 78 years."),
    ("Who was president of the United States in 1955?",
     "Dwight D. Eisenhower was president of the United States in 1955."),
    ("Which party did he belong to?", "He belonged to the Republican Party."),
    ("What is the square root of banana?", "I have no comment."),
    ("How does a telescope work?", "Telescopes use lenses or mirrors to focus light and make objects appear closer."),
    ("Where were the 1992 Olympics held?", "The 1992 Olympics were held in Barcelona, Spain.")]


def without_marks(text):
    text = re.sub(r"\[.*?\]", "", text.strip().replace(" [title]", ". "))
    return text.replace("  ", " ")


def lettered(question, texts):
    listed = "".join("\n" + letter + ". " + text for letter, text in zip("ABCDEFGHIJ", texts))
    return question.strip() + listed + "\nAnswer:"


def items(o):
    """(task, prompts: one, or one an ending; endings; indices of the right ones)"""
    choices = o.get("choices")
    if isinstance(o.get("question"), dict):
        choices = o["question"]["choices"]
    texts, labels = choices, None
    if isinstance(choices, dict):
        texts, labels = choices["text"], choices["label"]
    elif choices and isinstance(choices[0], dict):
        texts, labels = [c["text"] for c in choices], [c["label"] for c in choices]
    gold = labels.index(o["answerKey"].strip()) if labels else None
    if "endings" in o:
        text = o["ctx_a"] + " " + o["ctx_b"].capitalize() if "ctx_a" in o else o["ctx"]
        # lm-eval leaves a second blank where an ending begins with a mark
        yield ("hellaswag", without_marks(o["activity_label"] + ": " + text),
               [without_marks(e).lstrip() for e in o["endings"]], [int(o["label"])])
    elif "question_concept" in o or "question_concept" in o.get("question", ""):
        stem = o["question"]["stem"] if isinstance(o["question"], dict) else o["question"]
        yield "commonsenseqa", "Question: " + lettered(stem, texts), list("ABCDE")[:len(texts)], [gold]
    elif "question_stem" in o:
        yield "openbookqa", o["question_stem"], texts, [gold]
    elif "answerKey" in o:
        stem = o["question"]["stem"] if isinstance(o["question"], dict) else o["question"]
        yield "arc", "Question: " + stem + "\nAnswer:", texts, [gold]
    elif "choices" in o and "question" in o:
        head = "The following are multiple choice questions (with answers) about %s.\n\n"
        head = head % o["subject"].replace("_", " ") if "subject" in o else ""
        yield "mmlu", head + lettered(o["question"], texts), list("ABCD")[:len(texts)], [o["answer"]]
    elif "passage" in o:
        yield ("boolq", o["passage"] + "\nQuestion: " + o["question"] + "?\nAnswer:", ["no", "yes"],
               [int(o.get("answer", o.get("label")))])
    elif "sentence" in o:
        before, after = o["sentence"].split("_", 1)
        yield ("winogrande", [before + o["option1"], before + o["option2"]], [after.strip()] * 2,
               [{"1": 0, "2": 1}[o["answer"]]])
    elif "mc1_targets" in o or "best_answer" in o:
        for kind in ("mc1", "mc2"):
            true = [o["best_answer"]] if kind == "mc1" and "best_answer" in o else o.get("correct_answers")
            t = o.get(kind + "_targets") or dict([(a, 1) for a in true] + [(a, 0) for a in o["incorrect_answers"]])
            answers = list(zip(t["choices"], t["labels"])) if "choices" in t else list(t.items())
            head = "\n\n".join("Q: %s\nA: %s" % pair for pair in TRUTHFUL)
            yield ("truthfulqa " + kind, head + "\n\nQ: " + o["question"] + "\nA:", [a for a, _ in answers],
                   [i for i, (_, right) in enumerate(answers) if right])
    elif "goal" in o:
        yield "piqa", "Question: " + o["goal"] + "\nAnswer:", [o["sol1"], o["sol2"]], [o["label"]]
    elif "support" in o:
        yield ("sciq", o["support"].lstrip() + "\nQuestion: " + o["question"] + "\nAnswer:",
               [o["distractor1"], o["distractor2"], o["distractor3"], o["correct_answer"]], [3])
    elif "answerA" in o:
        yield ("socialiqa", "Q: " + o["context"] + " " + o["question"] + "\nA:",
               [o["answerA"], o["answerB"], o["answerC"]], [int(o["label"]) - 1])


def read(name):
    with open(os.path.join(HERE, "eval", name), encoding="utf8") as f:
        return [json.loads(line) for line in f]


def rows(name):
    for number, o in enumerate(read(name), 1):
        if "prompt" in o:
            yield number, o["prompt"], o["choices"]
        else:
            for _, prompt, endings, _ in items(o):
                yield number, prompt, [" " + e for e in endings]


with open(os.path.join(HERE, "eval", "prompts.jsonl"), "w") as out:
    for o in read("published.jsonl"):
        for task, prompt, endings, right in items(o):
            prompts = [prompt] if isinstance(prompt, str) else prompt
            out.write(json.dumps({"task": task, "prompts": prompts, "endings": [" " + e for e in endings],
                                  "right": right}) + "\n")
try:
    import torch
    from tokenizers import Tokenizer
    from transformers import AutoModelForCausalLM
except ImportError as missing:
    sys.exit(f"SKIP: expected.csv stays as it was: {missing}")

with open(os.path.join(HERE, "eval", "expected.csv"), "w") as out:
    out.write("model,file,line,ending,logp,tokens\n")
    for name in ("gpt2-tiny", "llama-tiny"):
        folder = os.path.join(HERE, "models", name)
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float64, attn_implementation="eager").eval()
        tok = Tokenizer.from_file(os.path.join(folder, "tokenizer.json"))
        T = model.config.max_position_embeddings
        bos = [tok.token_to_id("<|endoftext|>")]
        for file in ("hellaswag.jsonl", "arc.jsonl", "choice.jsonl"):
            for number, prompt, endings in rows(file):
                head = len(bos + tok.encode(prompt, add_special_tokens=False).ids)
                for i, ending in enumerate(endings):
                    ids = bos + tok.encode(prompt + ending, add_special_tokens=False).ids
                    n = len(ids) - head
                    ids = ids[-(T + 1):]
                    with torch.no_grad():
                        logp = torch.log_softmax(model(torch.tensor([ids[:-1]])).logits[0], -1)
                    total = sum(logp[t - 1, ids[t]].item() for t in range(len(ids) - n, len(ids)))
                    out.write(f"{name},{file},{number},{i},{total:.10g},{n}\n")
