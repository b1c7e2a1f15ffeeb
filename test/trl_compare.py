#!/usr/bin/env python3
"""Do trl's trainers and ours take the same steps?

    make && python3 test/trl_compare.py [--model DIR] [--steps N] [--tmp DIR]        (needs torch, transformers, trl)

Eight pairs of answers and a tiny model of ours (or --model) go through train_sft and train_rlhf (DPO, IPO, KTO, the
reward model), all pairs in every step, and through trl's trainers: the same folder and template, AdamW as ours. Loss
and gradient norm of the first step must agree to 1e-5 of their size, those of later steps to 1e-3 (AdamW divides by the
root of the second moment: where that is rounding, so is the step).

Not compared: cDPO and RRHF (trl has neither), --sft-weight (trl takes the mean over the tokens of all chosen answers,
ours that of each answer, as its paper does), KTO after its first step (trl measures the KL on other wrong pairs), PPO
and GRPO (they draw their answers; test/gen/losses.py compares their losses). trl learns what a template writes behind
the end of the last turn (ChatML: a line's end), ours ends with the turn: the template is given without that.
"""
import argparse
import csv
import json
import os
import re
import shutil
import tempfile

import peers

peers.need("trl_compare.py", "torch", "transformers", "datasets", "trl")

import datasets
import torch
import trl
from datasets import Dataset
from peers import ours, report
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer, PrinterCallback

datasets.disable_progress_bars()
RATE = 1e-4


def pairs():
    rows = []
    for i in range(8):
        who, what, other = peers.WHO[i % 4], peers.WHAT[i // 2 % 4], peers.WHAT[(i // 2 + 1 + i % 3) % 4]
        turn = [{"role": "user", "content": f"{who} likes {what}. What is it?"}]
        if i % 3 == 0:
            turn.insert(0, {"role": "system", "content": "Be brief."})
        rows.append({
            "prompt": turn, "chosen": [{"role": "assistant", "content": f"It is {what}."}], "rejected":
            [{"role": "assistant", "content": f"It is {other}, says {peers.WHO[(i + 1) % 4]}."}]
        })
    return rows


def our_steps(log):
    with open(log, newline="") as f:
        return [(float(r["loss"]), float(r["gnorm"])) for r in csv.DictReader(f) if r["gnorm"]]


def their_steps(kind, config, tmp, o, model, dataset, tokenizer, **more):
    """[(loss, gradient norm)] of one of trl's trainers."""
    losses, norms = [], []

    class Watched(kind):
        def compute_loss(self, *a, **k):
            loss = super().compute_loss(*a, **k)
            losses.append((loss[0] if isinstance(loss, tuple) else loss).item())  # the log's is rounded
            return loss

        def training_step(self, model, *a, **k):
            loss = super().training_step(model, *a, **k)
            # In double: PyTorch adds up a float tensor's squares in float, 3e-5 off for a real model's embedding.
            norms.append(sum(p.grad.double().square().sum() for p in model.parameters() if p.grad is not None)**0.5)
            return loss

    settings = config(output_dir=os.path.join(tmp, "trl"),
                      per_device_train_batch_size=len(dataset),
                      max_steps=o.steps,
                      learning_rate=RATE,
                      lr_scheduler_type="constant",
                      warmup_steps=0,
                      weight_decay=0.0,
                      adam_beta1=0.9,
                      adam_beta2=0.95,
                      adam_epsilon=1e-8,
                      max_grad_norm=1.0,
                      logging_steps=1,
                      save_strategy="no",
                      report_to="none",
                      use_cpu=True,
                      bf16=False,
                      disable_tqdm=True,
                      gradient_checkpointing=False,
                      dataloader_pin_memory=False,
                      seed=1,
                      **more)
    # nn.Embedding gives its padding_idx no gradient; ours learns every token that a row holds.
    model.get_input_embeddings().padding_idx = None
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    trainer = Watched(model=model, args=settings, train_dataset=dataset, processing_class=tokenizer)
    trainer.remove_callback(PrinterCallback)
    trainer.train()
    return list(zip(losses, map(float, norms)))


def compare(name, mine, theirs, steps):
    mine, theirs = mine[:steps], theirs[:steps]
    if len(mine) != steps or len(theirs) != steps:
        return report(False, name, f"{len(mine)} and {len(theirs)} steps, not {steps}")
    gaps = [max(abs(a - b) / max(abs(b), 1e-3) for a, b in zip(x, y)) for x, y in zip(mine, theirs)]
    good = gaps[0] <= 1e-5 and all(g <= 1e-3 for g in gaps[1:])
    report(
        good, name,
        f"loss {mine[0][0]:.7g}, trl {theirs[0][0]:.7g}; norm {mine[0][1]:.7g}, trl {theirs[0][1]:.7g}; apart by " +
        ", ".join(f"{g:.0e}" for g in gaps))


def causal(folder):
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)


def check_preferences(o, tmp, rows, tokenizer, name):
    data, out = peers.write_lines(os.path.join(tmp, "pairs.jsonl"), rows), os.path.join(tmp, "rl")
    ours("train_rlhf", "--model", o.model, "--data", data, "--val-data", data, "--method", name, "--out", out,
         "--overwrite", "--steps", o.steps, "--batch", 2 * len(rows), "--lr", RATE, "--schedule", "constant",
         "--warmup", 0, "--ask", 1, "--max-new", 4, "--report", "off")
    kind, config = (trl.KTOTrainer, trl.KTOConfig) if name == "kto" else (trl.DPOTrainer, trl.DPOConfig)
    if name == "kto":
        rows = [{"prompt": r["prompt"], "completion": r[key], "label": key == "chosen"} for r in rows
                for key in ("chosen", "rejected")]
    more = {"loss_type": "ipo"} if name == "ipo" else {}
    theirs = their_steps(kind, config, tmp, o, causal(o.model), Dataset.from_list(rows), tokenizer, beta=0.1, **more)
    compare(name, our_steps(os.path.join(out, "log.csv")), theirs, 1 if name == "kto" else o.steps)
    shutil.rmtree(out)


def check_sft(o, tmp, rows, tokenizer, name):
    rows = [{"prompt": r["prompt"], "completion": r["chosen"]} for r in rows]
    data, out = peers.write_lines(os.path.join(tmp, "sft.jsonl"), rows), os.path.join(tmp, "sft")
    ours("train_sft", "--model", o.model, "--data", data, "--val-data", data, "--out", out, "--steps", o.steps,
         "--batch", len(rows), "--no-packing", "--lr", RATE, "--schedule", "constant", "--warmup", 0, "--ask", 0,
         "--report", "off")
    theirs = their_steps(trl.SFTTrainer, trl.SFTConfig, tmp, o, causal(o.model), Dataset.from_list(rows), tokenizer)
    compare(name, our_steps(os.path.join(out, "log.csv")), theirs, o.steps)
    shutil.rmtree(out)


def check_reward(o, tmp, rows, tokenizer, name):
    """Ours holds out the last pairs, reads the score at <|reward|> behind them (where the vocabulary has that), and starts
    from a random head: that of its first checkpoint, of a rate so small that no weight moves."""
    data, out, folder = peers.write_lines(os.path.join(tmp, "pairs.jsonl"),
                                          rows), os.path.join(tmp, "rl"), os.path.join(tmp, "reward")
    for rate in (RATE, 1e-30):
        shutil.rmtree(folder, ignore_errors=True)
        ours("train_rlhf", "--model", o.model, "--data", data, "--val-data", data, "--method", "ppo", "--out", out,
             "--overwrite", "--reward-out", folder, "--ranking", "pairs", "--reward-lr", rate, "--reward-steps",
             o.steps, "--schedule", "constant", "--batch", 2 * len(rows), "--steps", 1, "--rollout", 4, "--ask", 1,
             "--max-new", 4, "--report", "off", "--save-every", 1)
        mine = mine if rate < RATE else our_steps(os.path.join(folder, "log.csv"))
    start = os.path.join(folder, "checkpoint-1")
    model = AutoModelForSequenceClassification.from_pretrained(start, dtype=torch.float32)
    end = [tokenizer.get_vocab()[t] for t in ["<|reward|>"] if t in tokenizer.get_vocab()]
    rows = [{
        key + "_ids": tokenizer.apply_chat_template(r["prompt"] + r[key], return_dict=False) + end
        for key in ("chosen", "rejected")
    } for r in rows[:int(len(rows) * 0.85)]]
    theirs = their_steps(trl.RewardTrainer, trl.RewardConfig, tmp, o, model, Dataset.from_list(rows), tokenizer)
    compare(name, mine, theirs, o.steps)


def without_last_line_end(model, folder):
    """The folder once more, with a template that writes a line's end between turns only."""
    shutil.copytree(model, folder)
    path = os.path.join(folder, "tokenizer_config.json")
    with open(path) as f:
        config = json.load(f)
    config["chat_template"] = re.sub(r"'<\|im_end\|>' *\+ *'\\n'",
                                     r"'<|im_end|>' + ('\\n' if not loop.last or add_generation_prompt else '')",
                                     config["chat_template"])
    with open(path, "w") as f:
        json.dump(config, f)
    return folder


def main():
    p = argparse.ArgumentParser(description="Do trl's trainers and ours take the same steps?")
    p.add_argument("--model", help="a folder; none: a tiny one, trained here")
    p.add_argument("--steps", type=int, default=3)
    p.add_argument("--only", choices=["sft", "dpo", "ipo", "kto", "reward"], help="one of the trainers")
    p.add_argument("--tmp", help="where the temporary folder goes")
    o = p.parse_args()
    with tempfile.TemporaryDirectory(prefix="trl", dir=o.tmp) as tmp:
        o.model = without_last_line_end(o.model or peers.tiny_model(tmp), os.path.join(tmp, "model"))
        tokenizer, rows = AutoTokenizer.from_pretrained(o.model), pairs()
        for name, check in (("sft", check_sft), ("dpo", check_preferences), ("ipo", check_preferences),
                            ("kto", check_preferences), ("reward", check_reward)):
            if o.only in (None, name):
                check(o, tmp, rows, tokenizer, name)
    peers.finish()


if __name__ == "__main__":
    main()
