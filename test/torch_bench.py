#!/usr/bin/env python3
"""The time of one GPT-2 training step in PyTorch, for comparison with ours.

    python3 test/torch_bench.py [-B 4] [-T 64] [-L 12] [-C 768] [-H 12] [-V 50257] [--precision fp32 bf16] [--steps 10]

A plain GPT-2 with what PyTorch offers today: scaled_dot_product_attention, autocast for bf16, fused AdamW. A step is
forward, backward, gradient norm and update, as in our train_gpt. Prints the fastest and the median step, how the
fastest divides, and tokens per second. Without torch it prints a line that begins with SKIP and succeeds.
"""
import argparse
import resource
import statistics
import sys
import time

try:
    import torch
    from torch import nn
    from torch.nn import functional as F
except ImportError:
    print("SKIP: torch is not installed")
    sys.exit(0)


def attention(q, k, v):
    """Causal attention: PyTorch's fused one, or, where it is too old to have it (before 2.0), the three lines."""
    if hasattr(F, "scaled_dot_product_attention"):
        return F.scaled_dot_product_attention(q, k, v, is_causal=True)
    T, D = q.shape[-2:]
    scores = (q @ k.transpose(-2, -1)) * D**-0.5
    future = torch.ones(T, T, dtype=torch.bool).triu(1)
    return scores.masked_fill(future, float("-inf")).softmax(-1) @ v


class Block(nn.Module):
    def __init__(self, C, H):
        super().__init__()
        self.H = H
        self.ln_1, self.ln_2 = nn.LayerNorm(C), nn.LayerNorm(C)
        self.qkv, self.attention_out = nn.Linear(C, 3 * C), nn.Linear(C, C)
        self.up, self.down = nn.Linear(C, 4 * C), nn.Linear(4 * C, C)

    def forward(self, x):
        B, T, C = x.shape
        q, k, v = self.qkv(self.ln_1(x)).view(B, T, 3, self.H, C // self.H).permute(2, 0, 3, 1, 4)
        a = attention(q, k, v)
        x = x + self.attention_out(a.transpose(1, 2).reshape(B, T, C))
        return x + self.down(F.gelu(self.up(self.ln_2(x)), approximate="tanh"))


class GPT2(nn.Module):
    def __init__(self, V, T, L, C, H):
        super().__init__()
        self.wte, self.wpe = nn.Embedding(V, C), nn.Embedding(T, C)
        self.blocks = nn.ModuleList(Block(C, H) for _ in range(L))
        self.ln_f = nn.LayerNorm(C)
        for p in self.parameters():
            if p.ndim >= 2:
                nn.init.normal_(p, std=0.02)

    def forward(self, tokens, targets):
        x = self.wte(tokens) + self.wpe.weight[:tokens.shape[1]]
        for block in self.blocks:
            x = block(x)
        logits = F.linear(self.ln_f(x), self.wte.weight)
        return F.cross_entropy(logits.flatten(0, 1).float(), targets.flatten())


def optimizer_of(model):
    matrices = [p for p in model.parameters() if p.ndim >= 2]
    vectors = [p for p in model.parameters() if p.ndim < 2]
    groups = [{"params": matrices, "weight_decay": 0.1}, {"params": vectors, "weight_decay": 0.0}]
    try:
        return torch.optim.AdamW(groups, lr=1e-4, betas=(0.9, 0.95), fused=True), "fused"
    except (RuntimeError, TypeError):
        return torch.optim.AdamW(groups, lr=1e-4, betas=(0.9, 0.95)), "not fused"


def measure(o, precision):
    torch.manual_seed(1)
    model = GPT2(o.V, max(o.T, 1024), o.L, o.C, o.H)
    optimizer, kind = optimizer_of(model)
    run = torch.compile(model) if o.compile else model
    tokens, targets = torch.randint(0, o.V, (o.B, o.T)), torch.randint(0, o.V, (o.B, o.T))
    clock = time.process_time if o.clock == "cpu" else time.perf_counter

    def take_step():
        t0 = clock()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=precision == "bf16"):
            loss = run(tokens, targets)
        t1 = clock()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        t2 = clock()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        t3 = clock()
        return (t3 - t0, t1 - t0, t2 - t1, t3 - t2), loss.item()

    if o.serve:                         # a contender of tools/bench.c, which says how many steps and when
        take_step()
        print(f"ready torch {torch.__version__.split('+')[0]}, {kind} AdamW", flush=True)
        for line in sys.stdin:
            if int(line) == 0:
                break
            results = [take_step() for _ in range(int(line))]
            print(f"{min(r[0][0] for r in results):.9g} {results[-1][1]:.6f}", flush=True)
        return
    first = take_step()[1]
    results = [take_step() for _ in range(o.warmup - 1 + o.steps)][-o.steps:]
    times, last = [r[0] for r in results], results[-1][1]
    best, median = min(times), statistics.median(t[0] for t in times)
    # 6 FLOPs per weight and token (the embedding's table counts once, as the head), and attention's two products.
    weights = sum(p.numel() for p in model.blocks.parameters()) + o.V * o.C
    flops = 6 * o.B * o.T * weights + 6 * o.L * o.B * o.T * o.T * o.C
    print(f"{precision}: min {1e3 * best[0]:.1f} ms, median {1e3 * median:.1f} ms a step "
          f"(forward {1e3 * best[1]:.1f}, backward {1e3 * best[2]:.1f}, norm and update {1e3 * best[3]:.1f}; {kind}), "
          f"{o.B * o.T / median:.0f} tok/s, {flops / best[0] / 1e9:.0f} GFLOP/s, loss {first:.4f} -> {last:.4f}",
          flush=True)


def main():
    p = argparse.ArgumentParser(description="The time of one GPT-2 training step in PyTorch.")
    for name, value in dict(B=4, T=64, L=12, C=768, H=12, V=50257).items():
        p.add_argument(f"-{name}", type=int, default=value)
    p.add_argument("--precision", nargs="+", choices=["fp32", "bf16"], default=["fp32", "bf16"])
    p.add_argument("--steps", type=int, default=10)
    p.add_argument("--warmup", type=int, default=2)
    p.add_argument("--threads", type=int, help="default: all")
    p.add_argument("--clock", choices=["wall", "cpu"], default="wall")
    p.add_argument("--serve", action="store_true", help="take steps when told to on stdin (tools/bench.c does)")
    p.add_argument("--compile", action="store_true", help="use torch.compile (needs a C++ compiler)")
    o = p.parse_args()
    if o.threads:
        torch.set_num_threads(o.threads)
    if o.serve:
        measure(o, o.precision[0])
        return
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, "
          f"B {o.B} T {o.T} L {o.L} C {o.C} H {o.H} V {o.V}, {o.steps} steps after {o.warmup}")
    for precision in o.precision:
        measure(o, precision)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    print(f"peak memory {peak / 2**30:.2f} GiB")


if __name__ == "__main__":
    main()
