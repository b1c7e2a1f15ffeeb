#!/usr/bin/env python3
"""Does build/eval ask and score as lm-eval does?

    make && python3 test/lm_eval_compare.py [--model DIR] [--tmp DIR]        (needs torch, transformers, lm-eval)

A tiny model of ours (or --model) answers invented records in the layouts of published tasks: with lm-eval's own task
definitions, their data replaced by our files, and with a task of multiple choice of our own; and with build/eval on
the same files. Log-likelihoods of all endings must agree to 1e-3, scores (acc: raw, acc_norm: per byte) exactly.

Not compared: examples before a question (--shots takes the file's first, lm-eval draws), tasks whose answers are
generated.
"""
import argparse
import json
import logging
import os
import re
import tempfile

import peers

peers.need("lm_eval_compare.py", "torch", "transformers", "datasets", "lm_eval")

import datasets
import lm_eval
from lm_eval.models.huggingface import HFLM
from lm_eval.tasks import TaskManager
from peers import WHAT, WHO, report

logging.disable(logging.WARNING)
datasets.disable_progress_bars()
TASKS = os.path.join(os.path.dirname(lm_eval.__file__), "tasks")


def records():
    """{layout: rows}"""
    rows = {
        name: []
        for name in ("hellaswag", "arc", "piqa", "winogrande", "sciq", "openbookqa", "boolq", "mmlu", "socialiqa",
                     "commonsenseqa", "truthfulqa", "choice")
    }
    for i in range(6):
        who, other, what, wrong = WHO[i % 4], WHO[(i + 1) % 4], WHAT[i % 4], [w for w in WHAT if w != WHAT[i % 4]]
        ask = f"What does {who} like?" + " No. %d" % i
        four = wrong[:i % 4] + [what] + wrong[i % 4:]
        labelled = {"text": four, "label": list("ABCD")}
        rows["hellaswag"].append({
            "ind": i, "activity_label": "Liking", "ctx_a":
            f"[header] {who} likes {what}. [title] Then {other} asks {i} times.", "ctx_b": "he THEN", "ctx": "",
            "endings": [f"likes {w}. [step] So it is." for w in four], "label": str(i % 4)
        })
        rows["arc"].append({"id": str(i), "question": ask, "choices": labelled, "answerKey": "ABCD"[i % 4]})
        rows["openbookqa"].append(
            {"id": str(i), "question_stem": f"{ask} {who} likes", "choices": labelled, "answerKey": "ABCD"[i % 4]})
        rows["piqa"].append(
            {"goal": ask, "sol1": f"{who} likes {what}.", "sol2": f"{wrong[0]}, says {other}.", "label": i % 2})
        rows["winogrande"].append({
            "sentence": f"{who} gave {other} {what}, for _ likes it {i} times.", "option1": who, "option2": other,
            "answer": "12"[i % 2]
        })
        rows["sciq"].append({
            "question": ask, "support": f" {who} likes {what}.", "correct_answer": what, "distractor1": wrong[0],
            "distractor2": wrong[1], "distractor3": wrong[2]
        })
        rows["boolq"].append({
            "passage": f"{who} likes {what}.", "question": f"does {who} like {four[0]} {i}", "label": i % 2, "idx": i
        })
        rows["mmlu"].append({"question": f" {ask} ", "subject": "anatomy", "choices": four, "answer": i % 4})
        rows["socialiqa"].append({
            "context": f"{who} likes {what}.", "question": f"Who asks {i} times?", "answerA": who, "answerB": other,
            "answerC": "nobody", "label": str(i % 3 + 1)
        })
        rows["commonsenseqa"].append({
            "id": str(i), "question": ask, "question_concept": "liking", "answerKey": "ABCDE"[i % 5], "choices":
            {"label": list("ABCDE"), "text": four + ["nothing"]}
        })
        targets = {"choices": [what] + wrong, "labels": [1, 0, 0, 0]}
        rows["truthfulqa"].append(
            {"question": ask, "mc1_targets": targets, "mc2_targets": {**targets, "labels": [1, 0, 1, 0]}})
        rows["choice"].append(
            {"prompt": f"{who} likes", "choices": [f" {w} {i}" for w in four], "answer": i % 4})
    return rows


# our task: lm-eval's definition
DEFINITION = {
    "hellaswag": "hellaswag/hellaswag.yaml",
    "arc": "arc/arc_easy.yaml",
    "piqa": "piqa/piqa.yaml",
    "winogrande": "winogrande/default.yaml",
    "sciq": "sciq/sciq.yaml",
    "openbookqa": "openbookqa/openbookqa.yaml",
    "boolq": "super_glue/boolq/default.yaml",
    "mmlu": "mmlu/default/mmlu_anatomy.yaml",
    "socialiqa": "siqa/siqa.yaml",
    "commonsenseqa": "commonsense_qa/default.yaml",
    "truthfulqa mc1": "truthfulqa/truthfulqa_mc1.yaml",
    "truthfulqa mc2": "truthfulqa/truthfulqa_mc2.yaml",
    "choice": None,
}
OWN = {
    "output_type": "multiple_choice", "doc_to_text": "{{prompt}}", "doc_to_target": "answer", "doc_to_choice":
    "choices", "target_delimiter": "", "metric_list":
    [{"metric": m, "aggregation": "mean", "higher_is_better": True} for m in ("acc", "acc_norm")]
}


def theirs(o, tmp, files):
    """{name: (scores, [log-likelihoods of an item's endings])}"""
    folder, names = os.path.join(tmp, "tasks"), {}
    os.makedirs(folder)
    for name, yaml in DEFINITION.items():
        definition = os.path.join(TASKS, yaml) if yaml else None
        if yaml and not os.path.exists(definition):
            print(f"SKIP: {name}: this lm-eval has no {yaml}")
            continue
        names[name] = "peers_" + name.replace(" ", "_")
        task = {"include": definition} if yaml else dict(OWN)
        task.update(task=names[name],
                    dataset_path="json",
                    dataset_name=None,
                    training_split=None,
                    validation_split="validation",
                    test_split=None,
                    fewshot_split=None,
                    dataset_kwargs={"data_files": {"validation": files[name.split()[0]]}})
        with open(os.path.join(folder, names[name] + ".yaml"), "w") as f:
            json.dump(task, f)  # JSON is YAML
    model = HFLM(pretrained=o.model, dtype="float32", device="cpu", batch_size=8)
    run = lm_eval.simple_evaluate(model=model,
                                  tasks=list(names.values()),
                                  log_samples=True,
                                  bootstrap_iters=0,
                                  num_fewshot=0,
                                  task_manager=TaskManager(include_path=folder, include_defaults=False))
    return {
        name: (run["results"][task], [[r[0] for r in s["filtered_resps"]]
                                      for s in sorted(run["samples"][task], key=lambda s: s["doc_id"])])
        for name, task in names.items()
    }


def main():
    p = argparse.ArgumentParser(description="Does build/eval ask and score as lm-eval does?")
    p.add_argument("--model", help="a folder; none: a tiny one, trained here")
    p.add_argument("--tmp", help="where the temporary folder goes")
    o = p.parse_args()
    with tempfile.TemporaryDirectory(prefix="lm_eval", dir=o.tmp) as tmp:
        os.environ["HF_DATASETS_CACHE"] = datasets.config.HF_DATASETS_CACHE = os.path.join(tmp, "cache")
        o.model = o.model or peers.tiny_model(tmp)
        files = {
            name: peers.write_lines(os.path.join(tmp, name + ".jsonl"), rows)
            for name, rows in records().items()
        }
        items = os.path.join(tmp, "items.jsonl")
        table, _ = peers.ours("build/eval", "--model", o.model, "--items", items, "--tasks", *files.values())
        with open(items, encoding="utf-8") as f:
            mine = [json.loads(line) for line in f]
        for name, (scores, likelihoods) in theirs(o, tmp, files).items():
            ours = [x["logp"] for x in mine if x["task"] == name]
            same = [len(x) for x in ours] == [len(x) for x in likelihoods]
            gap = max([abs(a - b) for x, y in zip(ours, likelihoods)
                       for a, b in zip(x, y)], default=0) if same else float("nan")
            pairs = [("true share" if name == "truthfulqa mc2" else "raw", "acc,none")] + [("per byte", "acc_norm,none")] * ("acc_norm,none" in scores)
            found = [(re.search(rf"^choose: {name}, {column} +(\S+)", table, re.M), scores[key])
                     for column, key in pairs]
            equal = all(m and abs(float(m[1]) - score) <= 0.00051 for m, score in found)  # the table has three digits
            report(
                ours and gap <= 1e-3 and equal, name, f"{sum(map(len, ours))} endings within {gap:.0e}; " +
                ", ".join(f"{column} {m[1] if m else None}, {key[:-5]} {score:.3f}"
                          for (column, key), (m, score) in zip(pairs, found)))
    peers.finish()


if __name__ == "__main__":
    main()
