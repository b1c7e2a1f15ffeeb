#!/usr/bin/env python3
"""Writes test/data/VERSIONS: the tools that made the fixtures.     python3 test/gen/versions.py > test/data/VERSIONS"""
import platform
import unicodedata
from importlib.metadata import version

print("Made by test/gen/*.py (fixed seeds: the same tools write the same bytes) with")
print(f"python {platform.python_version()} (Unicode {unicodedata.unidata_version})")
for name in ("torch", "transformers", "peft", "trl", "tokenizers", "safetensors", "sentencepiece", "tiktoken", "numpy",
             "gguf", "unicodedata2"):
    print(name, version(name))
