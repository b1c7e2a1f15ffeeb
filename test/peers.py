"""What the checks against other programs share (trl_compare, lm_eval_compare, gguf_check, smollm2_check).

Each needs our binaries and a package of Python's. What is missing it says in a line that begins with SKIP and names
the remedy, and succeeds. Models are our own, trained here in seconds. Ends with "N passed, N failed".
"""
import importlib
import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
import urllib.request
import warnings

warnings.simplefilter("ignore", FutureWarning)
os.environ.update(HF_HUB_OFFLINE="1", HF_DATASETS_OFFLINE="1", TRANSFORMERS_VERBOSITY="error", TQDM_DISABLE="1",
                  TOKENIZERS_PARALLELISM="false", CUDA_VISIBLE_DEVICES="", OMP_WAIT_POLICY="passive")
HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(HERE)
PACKAGE = {"lm_eval": "lm-eval"}        # where the module is called otherwise
passed = failed = 0


def missing(module, what):
    """Is a module missing? Then what is left out is said, and how to get it."""
    try:
        importlib.import_module(module)
    except ImportError as e:
        name = (e.name or module).split(".")[0]
        print(f"SKIP: {what}: {name} is not installed (pip install {PACKAGE.get(name, name)})", flush=True)
        return True
    return False


def need(what, *modules):
    """End, well, where one of the modules is missing."""
    if any([missing(m, what) for m in modules]):
        sys.exit(0)
    if "transformers" in modules:
        sys.modules["transformers"].utils.logging.disable_progress_bar()


def report(good, name, text):
    global passed, failed
    passed, failed = passed + bool(good), failed + (not good)
    print(f"{'ok  ' if good else 'FAIL'} {name}: {text}", flush=True)


def finish():
    print(f"{passed} passed, {failed} failed")
    sys.exit(failed > 0)


def ours(program, *arguments, cpu=True):
    """(what one of our programs prints, its errors) when it has run; the end when it fails."""
    path = os.path.join(ROOT, program)
    if not os.access(path, os.X_OK):
        sys.exit(f"error: there is no program {program}\n  try: make {program}")
    command = [path, *map(str, arguments)] + (["--precision", "fp32", "--device", "cpu"] if cpu else [])
    p = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True)
    if p.returncode:
        sys.exit(f"error: {' '.join(command)} ended with {p.returncode}\n{(p.stdout + p.stderr)[-2000:]}")
    return p.stdout, p.stderr


def need_serve(what):
    """End, well, where build/serve cannot be built."""
    if not os.access(os.path.join(ROOT, "build/serve"), os.X_OK):
        print(f"SKIP: {what}: there is no build/serve (apt-get install libmicrohttpd-dev; make build/serve)")
        sys.exit(0)


class Served:
    """build/serve with these models while the block runs: its .url; .end() is its exit code after Ctrl-C."""

    def __init__(self, *models, log, flags=()):
        program = os.path.join(ROOT, "build/serve")
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            port = s.getsockname()[1]
        chosen = [x for m in models for x in ("--model", str(m))]
        self.url, self.log = f"http://127.0.0.1:{port}", log
        command = [program, *chosen, "--port", str(port), "--precision", "fp32", "--device", "cpu", *map(str, flags)]
        with open(log, "w") as f:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=f, stderr=subprocess.STDOUT)
        for _ in range(600):
            if self.process.poll() is not None:
                break
            try:
                return urllib.request.urlopen(self.url + "/v1/models").close()
            except OSError:
                time.sleep(0.1)
        self.end()
        with open(log) as f:
            sys.exit(f"error: build/serve does not answer at {self.url}\n{f.read()[-2000:]}")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.end()

    def end(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        try:
            return self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()


WHO, WHAT = ["Mia", "Ted", "Lily", "Tom"], ["milk", "a book", "seven eggs", "the old boat"]


def tiny_model(tmp):
    """A Llama of half a million parameters that has read a little: a folder with a ChatML template."""
    r, text, base = random.Random(1), os.path.join(tmp, "text.txt"), os.path.join(tmp, "base")
    with open(text, "w") as f:
        for _ in range(3000):
            f.write(f"{r.choice(WHO)} likes {r.choice(WHAT)}. Then {r.choice(WHO)} asks: what is it? It is "
                    f"{r.choice(WHAT)}, says {r.choice(WHO)}.\n")
    ours("train_gpt", "--data", text, "--vocab", 400, "--depth", 2, "--seq", 128, "--steps", 40, "--batch", 8, "--out",
         base, "--report", "off")
    return base


def write_lines(path, rows):
    with open(path, "w", encoding="utf-8") as f:
        f.writelines(json.dumps(row) + "\n" for row in rows)
    return path


class LlamaCpp:
    """llama.cpp, as the wheel cyllama carries it: a GGUF file in float32 arithmetic."""

    def __init__(self, path, context=256):
        from cyllama.llama import llama_cpp as lib

        class Model(lib.LlamaModel):        # whose size LlamaContext asks for under this name, in vain
            @property
            def n_vocab(self):
                return self.get_vocab().n_vocab
        lib.disable_logging()
        how = lib.LlamaContextParams()
        how.n_ctx = how.n_batch = how.n_ubatch = context
        how.type_k = how.type_v = how.flash_attn_type = 0       # keys and values in float32
        how.n_threads = how.n_threads_batch = int(os.environ.get("OMP_NUM_THREADS", os.cpu_count()))
        self.lib, self.size, self.model = lib, context, Model(path, lib.LlamaModelParams(), False)
        self.context, self.vocab = lib.LlamaContext(self.model, how, False), self.model.get_vocab()

    def read(self, ids, at, every):
        """Logits behind the last of the ids, which stand at `at` and after it; every: behind each."""
        import numpy as np
        batch = self.lib.LlamaBatch(n_tokens=len(ids), embd=0, n_seq_max=1)
        for i, token in enumerate(ids):
            batch.add(token, at + i, [0], every or i == len(ids) - 1)
        if self.context.decode(batch):
            raise RuntimeError("llama.cpp cannot decode")
        return np.array([self.context.get_logits_ith(i) for i in (range(len(ids)) if every else [len(ids) - 1])])

    def probabilities(self, ids):
        """(len(ids), V): of what follows each token."""
        import numpy as np
        self.context.kv_cache_clear()
        z = self.read(ids, 0, True).astype(np.float64)
        p = np.exp(z - z.max(-1, keepdims=True))
        return p / p.sum(-1, keepdims=True)

    def encode(self, text):
        """Special tokens are text, nothing is added."""
        return list(self.vocab.tokenize(text, False, False)) if text else []

    def greedy(self, ids, most, stop):
        self.context.kv_cache_clear()
        new = [int(self.read(ids, 0, False)[0].argmax())]
        while len(new) < most and new[-1] != stop:
            new.append(int(self.read(new[-1:], len(ids) + len(new) - 1, False)[0].argmax()))
        return new
