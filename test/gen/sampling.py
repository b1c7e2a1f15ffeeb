#!/usr/bin/env python3
"""What transformers' logits processors leave of a distribution: test/data/sampling.json.

    python3 test/gen/sampling.py [test/data]        (needs torch, transformers)

A list of cases: logits, the settings, the ids said before, and p: the probabilities after repetition penalty,
temperature, top-k, top-p and min-p, in the order in which generate() applies them, computed in float64. Among them
ties at the k-th place (all stay), a top-p below the first probability (one stays), everything at once.
"""
import json
import os
import sys

os.environ.setdefault("HF_HUB_OFFLINE", "1")
import torch
from transformers import (LogitsProcessorList, MinPLogitsWarper, RepetitionPenaltyLogitsProcessor,
                          TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper)

V = 24
PLAIN = dict(temperature=1.0, top_k=0, top_p=1.0, min_p=0.0, penalty=1.0, recent=[])


def cases():
    g = torch.Generator().manual_seed(17)
    spread = (1.0, 3.0, 0.2)
    for n, size in enumerate(spread):
        logits = (size * torch.randn(V, generator=g)).float()
        for change in (dict(), dict(temperature=0.5), dict(temperature=1.7), dict(top_k=1), dict(top_k=5),
                       dict(top_k=100), dict(top_p=0.01), dict(top_p=0.5), dict(top_p=0.9), dict(top_p=0.999),
                       dict(min_p=0.05), dict(min_p=0.5), dict(min_p=1.0), dict(penalty=1.3, recent=[3, 7, 3, 0, 23]),
                       dict(penalty=0.8, recent=[1, 2]), dict(temperature=0.7, top_k=10, top_p=0.8),
                       dict(temperature=1.5, top_k=12, top_p=0.95, min_p=0.1, penalty=1.2, recent=[5, 6, 7, 5])):
            yield logits, dict(PLAIN, **change)
    tied = torch.tensor([2.0, 1.0, 1.0, 1.0, 0.5] + [-1.0] * (V - 5))
    for change in (dict(top_k=2), dict(top_k=4), dict(top_k=5), dict(top_k=2, min_p=0.3)):
        yield tied, dict(PLAIN, **change)


def filtered(logits, s):
    steps = LogitsProcessorList()
    if s["penalty"] != 1:
        steps.append(RepetitionPenaltyLogitsProcessor(s["penalty"]))
    if s["temperature"] != 1:
        steps.append(TemperatureLogitsWarper(s["temperature"]))
    if s["top_k"]:
        steps.append(TopKLogitsWarper(s["top_k"]))
    if s["top_p"] < 1:
        steps.append(TopPLogitsWarper(s["top_p"]))
    if s["min_p"]:
        steps.append(MinPLogitsWarper(s["min_p"]))
    ids = torch.tensor([s["recent"]], dtype=torch.long)
    return torch.softmax(steps(ids, logits.double()[None].clone())[0], -1)


def main():
    root = sys.argv[1] if len(sys.argv) > 1 else "test/data"
    lines = []
    for logits, s in cases():
        p = filtered(logits, s)
        case = dict(s, logits=[float(f"{x:.9g}") for x in logits.tolist()], p=[float(f"{x:.9g}") for x in p.tolist()])
        lines.append(json.dumps(case))
    with open(os.path.join(root, "sampling.json"), "w") as f:
        f.write("[\n" + ",\n".join(lines) + "\n]\n")
    print(len(lines), "cases")


main()
