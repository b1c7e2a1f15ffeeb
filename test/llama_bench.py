#!/usr/bin/env python3
"""llama.cpp, as the wheel cyllama carries it, as a contender of tools/bench_decode.c.

    python3 test/llama_bench.py                                          succeeds where the wheel is
    python3 test/llama_bench.py FP32.gguf MODEL.gguf fp32|bf16|q8|q4 speak|prompts TOKENS THREADS

MODEL.gguf, if it is not there, llama.cpp makes of the first file: all matrices in BF16, Q8_0 or Q4_0. Everything else
is as llama.cpp chooses it: keys and values in f16, its flash attention. (The wheel of version 0.2.18 was compiled for
AVX2; llama.cpp compiled for a processor with AVX-512 was not tried.) A step speaks so many tokens greedily from token
1 on, or reads a prompt of so many; it answers with the last token.
"""
import os
import sys
import time
from importlib.metadata import version

try:
    from cyllama.llama import llama_cpp as lib
except ImportError:
    sys.exit(1)
FILE_TYPE = {"bf16": 32, "q8": 7, "q4": 2}


class Model(lib.LlamaModel):            # whose size LlamaContext asks for under this name, in vain
    @property
    def n_vocab(self):
        return self.get_vocab().n_vocab


def main():
    source, path, form, work, tokens, threads = *sys.argv[1:5], *map(int, sys.argv[5:7])
    lib.disable_logging()
    if not os.path.exists(path):
        make = lib.LlamaModelQuantizeParams()
        make.ftype, make.pure = FILE_TYPE[form], True
        lib.model_quantize(source, path, make)
    how = lib.LlamaContextParams()
    how.n_ctx = how.n_batch = how.n_ubatch = 512
    how.n_threads = how.n_threads_batch = threads
    model = Model(path, lib.LlamaModelParams(), False)
    context = lib.LlamaContext(model, how, False)
    greedy = lib.LlamaSampler(lib.LlamaSamplerChainParams())
    greedy.add_greedy()
    one = lib.LlamaBatch(n_tokens=1, embd=0, n_seq_max=1)
    prompt = lib.LlamaBatch(n_tokens=512, embd=0, n_seq_max=1)
    V = model.n_vocab
    for i in range(tokens):
        prompt.add((i * 7919 + 1) % V, i, [0], i == tokens - 1)

    def step():
        context.kv_cache_clear(False)
        if work == "prompts":
            context.decode(prompt)
            return greedy.sample(context, -1)
        token = 1
        for place in range(tokens):
            one.reset()
            one.add(token, place, [0], True)
            context.decode(one)
            token = greedy.sample(context, -1)
        return token

    step()
    print(f"ready llama.cpp (cyllama {version('cyllama')})", flush=True)
    for line in sys.stdin:
        if int(line) == 0:
            break
        best = float("inf")
        for _ in range(int(line)):
            began = time.perf_counter()
            token = step()
            best = min(best, time.perf_counter() - began)
        print(f"{best:.9g} {token}", flush=True)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main()
