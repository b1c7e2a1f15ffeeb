"""The families of models, as configurations of a few thousand parameters with every option that we compute: what
interop.py, gguf_check.py and sft_compare.py try."""
import transformers as t

SMALL = dict(vocab_size=300, hidden_size=48, intermediate_size=112, num_hidden_layers=3, num_attention_heads=6,
             num_key_value_heads=2, max_position_embeddings=128, rms_norm_eps=1e-5, bos_token_id=None, eos_token_id=0,
             pad_token_id=None, tie_word_embeddings=False)
# family: its configuration, what it has beside SMALL
FAMILIES = {
    "mistral": (t.MistralConfig, dict(sliding_window=None)),
    "qwen3": (t.Qwen3Config, dict(head_dim=16)),
    "smollm3": (t.SmolLM3Config, dict(num_hidden_layers=5)),        # the fourth has no rope
    "olmo2": (t.Olmo2Config, dict(num_key_value_heads=6)),
    "phi3": (t.Phi3Config, dict(num_key_value_heads=6)),
}


def config(family, **more):
    kind, own = FAMILIES[family]
    return kind(**{**SMALL, **own, **more})


def rope(kind, **more):
    return dict(rope_parameters=dict(rope_type=kind, rope_theta=500.0, **more))


LINEAR, YARN = rope("linear", factor=4.0), dict(factor=4.0, original_max_position_embeddings=32)
STRETCHED = {
    "linear": LINEAR,
    "dynamic": {**rope("dynamic", factor=3.0), "max_position_embeddings": 20},      # asked for 48 tokens
    "yarn": rope("yarn", **YARN),
    "yarn, all said": rope("yarn", **YARN, beta_fast=8.0, beta_slow=2.0, attention_factor=1.3),
    "yarn, longer": rope("yarn", **YARN, attention_factor=1.3),
    "yarn, mscale": rope("yarn", **YARN, mscale=0.7, mscale_all_dim=1.1),
    "yarn, not truncated": rope("yarn", **YARN, truncate=False),
}
OPTIONS = {
    "mistral": {"window": dict(sliding_window=32), "head_dim": dict(head_dim=16)},
    "qwen3": {"biases": dict(attention_bias=True), "window above": dict(
        use_sliding_window=True, sliding_window=40, max_window_layers=2), "one key head": dict(num_key_value_heads=1)},
    "smollm3": {"biases": dict(attention_bias=True, mlp_bias=True), "every second": dict(no_rope_layer_interval=2),
                "a list": dict(no_rope_layers=[1, 1, 0, 1, 1]), "all": dict(no_rope_layers=[1] * 5)},
    "olmo2": {"biases": dict(attention_bias=True), "grouped": dict(num_key_value_heads=2)},
    "phi3": {"window": dict(sliding_window=31), "grouped": dict(num_key_value_heads=2)},
}


def variants():
    """(name, configuration): each family tied and untied, with each of its options, and with each way to stretch."""
    for family in FAMILIES:
        for tied in (False, True):
            yield f"{family} {'tied' if tied else 'untied'}", config(family, tie_word_embeddings=tied)
        for name, more in OPTIONS[family].items():
            yield f"{family}, {name}", config(family, **more)
        for name, more in STRETCHED.items():
            if family != "phi3":
                yield f"{family}, {name}", config(family, tie_word_embeddings=True, **more)
    yield "llama, biases", t.LlamaConfig(**{**SMALL, "attention_bias": True, "mlp_bias": True})
