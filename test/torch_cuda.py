#!/usr/bin/env python3
"""PyTorch's side of tools/bench_cuda.c: the works listed there, done as PyTorch does them best.

    python3 test/torch_cuda.py [bf16|tf32|fp32] [cuda|cpu]       answers questions on stdin, as bench_cuda asks them
    python3 test/torch_cuda.py bf16 cuda "step gpt2-124m 32 1024"    does it once: what torch.compile makes is kept

A step: torch.compile, scaled_dot_product_attention, autocast, fused AdamW, gradients clipped. Attention is timed with
each of PyTorch's two kernels. Without torch it prints a line that begins with SKIP.
"""
import contextlib
import gc
import sys
import time
import warnings

try:
    import torch
    from torch import nn
    from torch.nn import functional as F
except ImportError:
    print("SKIP: torch is not installed")
    sys.exit(0)
from torch_bench import GPT2, optimizer_of

warnings.filterwarnings("ignore")
precision = sys.argv[1] if len(sys.argv) > 1 else "bf16"
device = sys.argv[2] if len(sys.argv) > 2 else "cuda"
dtype = torch.bfloat16 if precision == "bf16" else torch.float32

# name: L, C, H, KV, F, V (F 0: a GPT-2). Its 50257 words are made 50304, which PyTorch multiplies much faster.
MODELS = {"gpt2-124m": (12, 768, 12, 12, 0, 50304), "gpt-tiny": (4, 96, 3, 3, 0, 768), "nano": (2, 64, 2, 2, 176, 768),
          "llama3.2-1b": (16, 2048, 32, 8, 8192, 128256)}


class LlamaBlock(nn.Module):
    def __init__(self, C, H, KV, hidden):
        super().__init__()
        self.H, self.KV, self.D = H, KV, C // H
        self.norm1, self.norm2 = nn.RMSNorm(C, eps=1e-5), nn.RMSNorm(C, eps=1e-5)
        self.qkv = nn.Linear(C, (H + 2 * KV) * self.D, bias=False)
        self.proj = nn.Linear(C, C, bias=False)
        self.gate_up, self.down = nn.Linear(C, 2 * hidden, bias=False), nn.Linear(hidden, C, bias=False)

    def rotate(self, x, cos, sin):
        a, b = x.chunk(2, -1)
        return torch.cat((a * cos - b * sin, a * sin + b * cos), -1)

    def forward(self, x, cos, sin):
        B, T, C = x.shape
        q, k, v = self.qkv(self.norm1(x)).view(B, T, -1, self.D).transpose(1, 2).split([self.H, self.KV, self.KV], 1)
        q, k = self.rotate(q, cos, sin), self.rotate(k, cos, sin)
        a = F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=self.KV < self.H)
        x = x + self.proj(a.transpose(1, 2).reshape(B, T, C))
        gate, up = self.gate_up(self.norm2(x)).chunk(2, -1)
        return x + self.down(F.silu(gate) * up)


class Llama(nn.Module):
    def __init__(self, L, C, H, KV, hidden, V, T):
        super().__init__()
        self.wte = nn.Embedding(V, C)
        self.blocks = nn.ModuleList(LlamaBlock(C, H, KV, hidden) for _ in range(L))
        self.norm = nn.RMSNorm(C, eps=1e-5)
        angle = torch.arange(T)[:, None] * 500000.0 ** (-torch.arange(0, C // H, 2) / (C // H))
        self.register_buffer("cos", angle.cos().to(dtype))
        self.register_buffer("sin", angle.sin().to(dtype))
        for p in self.parameters():
            if p.ndim >= 2:
                nn.init.normal_(p, std=0.02)

    def forward(self, tokens, targets):
        x = self.wte(tokens)
        for block in self.blocks:
            x = block(x, self.cos, self.sin)
        logits = F.linear(self.norm(x), self.wte.weight)
        return F.cross_entropy(logits.flatten(0, 1).float(), targets.flatten())


def random(*shape):
    return torch.rand(shape, device=device, dtype=dtype) * 2 - 1


def begin_copy(size):
    x, y = (torch.zeros(int(size), dtype=torch.int8, device=device) for _ in range(2))
    return lambda: y.copy_(x)


def begin_product(which, *sizes):
    N, I, O = map(int, sizes)
    x, w, y = random(N, I), random(O, I), random(N, O)
    return {"forward": lambda: x @ w.T, "dinp": lambda: y @ w, "dw": lambda: y.T @ x}[which]


def begin_attention(which, *sizes):
    from torch.nn.attention import SDPBackend, sdpa_kernel
    B, T, H, KV, D = map(int, sizes[:5])
    kernel = {"flash": SDPBackend.FLASH_ATTENTION, "cudnn": SDPBackend.CUDNN_ATTENTION}[sizes[5]]
    q, k, v = (random(B, heads, T, D).requires_grad_() for heads in (H, KV, KV))

    def forward():
        with sdpa_kernel(kernel):
            return F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=KV < H)
    if which == "forward":
        return forward
    out = forward()
    dout = random(*out.shape)
    return lambda: torch.autograd.grad(out, (q, k, v), dout, retain_graph=True)


class Step:
    """A whole step of training. What it calls last is its loss."""

    def __init__(self, name, *sizes):
        B, T = map(int, sizes[:2])
        L, C, H, KV, hidden, V = MODELS[name]
        L = int(sizes[2]) if len(sizes) > 2 else L
        torch.manual_seed(1)
        with torch.device(device):
            self.model = Llama(L, C, H, KV, hidden, V, T) if hidden else GPT2(V, T, L, C, H)
        self.optimizer = optimizer_of(self.model)[0]
        torch._dynamo.reset()                   # nothing general is to be compiled for a second shape
        self.run = torch.compile(self.model, dynamic=False) if device == "cuda" else self.model
        self.tokens, self.targets = (torch.randint(0, min(V, 50257), (B, T), device=device) for _ in range(2))
        self.loss = None

    def __call__(self):
        with torch.autocast(device, dtype=torch.bfloat16) if precision == "bf16" else contextlib.nullcontext():
            self.loss = self.run(self.tokens, self.targets)
        self.loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)


BEGIN = {"copy": begin_copy, "product": begin_product, "attention": begin_attention, "step": Step}


def wait():
    if device == "cuda":
        torch.cuda.synchronize()


def rest():
    if device == "cuda":
        torch.cuda.empty_cache()


def measure(once, times, warm):
    """Seconds of one of `times` runs."""
    for _ in range(warm):
        once()
    wait()
    since = time.perf_counter()
    for _ in range(times):
        once()
    wait()
    return (time.perf_counter() - since) / max(times, 1)


def serve():
    kind = torch.cuda.get_device_name() if device == "cuda" else "cpu"
    print(f"ready torch {torch.__version__}, {'compiled' if device == 'cuda' else 'eager'}", flush=True)
    print(f"torch {torch.__version__} on {kind}", file=sys.stderr)
    text, once, rested = None, None, True
    for line in sys.stdin:
        if line == "rest\n":
            rest()
            rested = True
            continue
        if line == "0\n":
            break
        times, question = line.split(maxsplit=1)
        try:
            if question != text:
                text, once = question, None
                gc.collect()                    # a compiled model is in circles
                rest()
                if device == "cuda":
                    torch.cuda.reset_peak_memory_stats()
                once = BEGIN[question.split()[0]](*question.split()[1:])
                measure(once, 0, 3)
            seconds = measure(once, int(times), 1 if rested else 0)
            rested = False
            loss = once.loss.item() if isinstance(once, Step) else 0
            memory = torch.cuda.max_memory_allocated() / 2**30 if device == "cuda" else 0
            print(f"{seconds:.9g} {loss:.6f} {memory:.3f}", flush=True)
        except Exception as e:                  # out of memory; a shape that a kernel refuses: this work is left out
            text, once = None, None
            rest()
            print("no", f"{type(e).__name__}: {e}".splitlines()[0][:110], flush=True)


if __name__ == "__main__":
    torch.backends.cuda.matmul.allow_tf32 = precision != "fp32"
    if len(sys.argv) > 3:
        for question in sys.argv[3:]:
            once = BEGIN[question.split()[0]](*question.split()[1:])
            measure(once, 1, 1)
            del once
            rest()
    else:
        serve()
