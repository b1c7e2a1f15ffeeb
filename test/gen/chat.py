#!/usr/bin/env python3
"""Chat fixtures: what transformers makes of a conversation with the template of every family.

    python3 test/gen/chat.py [test/data/chat.json]       (needs transformers and jinja2; the tokenizers are test/data/tok)

The templates are our own wording of the layouts. A family: {"tokenizer", "template", "cases"}; a case: {"messages",
"generation": does it end with the opening of an answer, "text", "ids", "learn": the stretches whose mask is 1, joined by "|"}.
"""
import json
import os
import sys

from transformers import AutoTokenizer

HERE = os.path.dirname(os.path.abspath(__file__))
IM = ("{{ '<|im_start|>' + m.role + '\\n' + m.content + '<|im_end|>\\n' }}")
IM_OPEN = "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
OWN = ("{% if loop.first and m.role != 'system' %}{{ '<|im_start|>system\\nSYSTEM<|im_end|>\\n' }}{% endif %}")
HEADER = "{{ '<|start_header_id|>' + m.role + '<|end_header_id|>\\n\\n' + m.content | trim + '<|eot_id|>' }}"
HEADER_OPEN = "{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{% endif %}"

FAMILIES = [
    ("gpt2pairs", "{% for m in messages %}" + IM + "{% endfor %}" + IM_OPEN),
    ("qwen2", "{% for m in messages %}" + OWN.replace("SYSTEM", "You give good answers.") + IM + "{% endfor %}" + IM_OPEN),
    ("qwen2", "{% if messages[0]['role'] == 'system' %}{{ '<|im_start|>system\\n' + messages[0]['content'] + '<|im_end|>\\n' }}"
              "{% else %}{{ '<|im_start|>system\\nYou answer briefly.<|im_end|>\\n' }}{% endif %}{% for m in messages %}"
              "{% if not (loop.first and m.role == 'system') %}" + IM + "{% endif %}{% endfor %}" + IM_OPEN),
    ("digits", "{% for m in messages %}" + OWN.replace("SYSTEM", "Your name is Pebble, a model of few weights and good "
               "will") + IM + "{% endfor %}" + IM_OPEN),
    ("llama3re", "{{ bos_token }}{% for m in messages %}" + HEADER + "{% endfor %}" + HEADER_OPEN),
    ("llama3re", "{{ bos_token }}{% if messages[0]['role'] == 'system' %}{% set said = messages[0]['content'] | trim %}"
                 "{% set messages = messages[1:] %}{% else %}{% set said = '' %}{% endif %}"
                 "{{ '<|start_header_id|>system<|end_header_id|>\\n\\nHas read up to: spring of 2023\\nThe day is: 3 Jun 2024\\n\\n'"
                 " + said + '<|eot_id|>' }}{% for m in messages %}" + HEADER + "{% endfor %}" + HEADER_OPEN),
    ("spm", "{% for m in messages %}{% if m.role == 'user' %}"
            "{{ bos_token + '[INST] ' }}{% if loop.index0 == 1 and messages[0]['role'] == 'system' %}"
            "{{ '<<SYS>>\\n' + messages[0]['content'] + '\\n<</SYS>>\\n\\n' }}{% endif %}{{ m.content | trim + ' [/INST]' }}"
            "{% elif m.role == 'assistant' %}{{ ' ' + m.content | trim + ' ' + eos_token }}{% endif %}{% endfor %}"),
    ("spm", "{% for m in messages %}{{ '<|' + m.role + '|>\\n' + m.content + eos_token + '\\n' }}{% endfor %}"
            "{% if add_generation_prompt %}{{ '<|assistant|>\\n' }}{% endif %}{# '<|user|>' #}"),
    ("gpt2re", "{% for m in messages %}{% if not loop.first %}{{ '\\n\\n' }}{% endif %}{% if m.role == 'system' %}"
               "{{ m.content }}{% elif m.role == 'user' %}{{ '### Instruction:\\n' + m.content }}{% else %}"
               "{{ '### Response:\\n' + m.content + eos_token }}{% endif %}{% endfor %}"
               "{% if add_generation_prompt %}{{ '\\n\\n### Response:\\n' }}{% endif %}"),
    # others that no table would know: Hermes (bos, trim), an apostrophe in the default, Tulu, R1's distilled ones, {% generation %}
    ("digits", "{{ bos_token }}{% for m in messages %}" + IM.replace("['content']", "['content'] | trim") + "{% endfor %}" + IM_OPEN),
    ("qwen2", "{% if messages[0]['role'] != 'system' %}{{ '<|im_start|>system\\nYou\\'re \"brief\".<|im_end|>\\n' }}{% endif %}"
              "{% for m in messages %}" + IM + "{% endfor %}" + IM_OPEN),
    ("gpt2re", "{% for m in messages %}{% if m.role == 'assistant' %}{{ '<|assistant|>\\n' + m.content + eos_token }}"
               "{% if not loop.last %}{{ '\\n' }}{% endif %}{% else %}{{ '<|' + m.role + '|>\\n' + m.content + '\\n' }}"
               "{% endif %}{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>\\n' }}{% endif %}"),
    ("gpt2re", "{% for m in messages %}{% if m.role == 'user' %}{{ '<User>' + m.content }}{% elif m.role == "
               "'assistant' %}{{ '<Assistant>' + m.content.split('</think>')[-1] + eos_token }}{% else %}{{ m.content }}"
               "{% endif %}{% endfor %}{% if add_generation_prompt %}{{ '<Assistant>' }}{% endif %}"),
    ("qwen2", "{% for m in messages %}{{ '<|im_start|>' + m.role + '\\n' }}{% if m.role == 'assistant' %}"
              "{% generation %}{{ m.content + '<|im_end|>' }}{% endgeneration %}{% else %}{{ m.content + '<|im_end|>' }}"
              "{% endif %}{{ '\\n' }}{% endfor %}" + IM_OPEN),
]
U = lambda text: {"role": "user", "content": text}
A = lambda text: {"role": "assistant", "content": text}
S = lambda text: {"role": "system", "content": text}
TALKS = [
    [U("What is 17 plus 25?")],
    [U("Hello"), A("Hello! How can I help?")],
    [S("You are a pirate."), U("Who are you?"), A("Arr, a pirate.")],
    [U("first"), A("One."), U("second, with\ntwo lines"), A("Two:\n\n- a\n- b"), U("third?")],
    [S("Be brief."), U("a"), A("b"), U("Stra\u00dfe \u4f60\u597d \U0001f600"), A("It's 3.5% \u2014 \u00e9t\u00e9.")],
]


def closing(tokenizer, template):
    if "<|im_end|>" in template:
        return "<|im_end|>"
    return "<|eot_id|>" if "<|eot_id|>" in template else tokenizer.eos_token


def case(tokenizer, template, messages):
    generation = messages[-1]["role"] != "assistant"
    render = lambda tokenize: tokenizer.apply_chat_template(messages, chat_template=template, tokenize=tokenize,
                                                            add_generation_prompt=generation)
    text = render(False)
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    between = " " if "[INST]" in template else ""       # Llama-2 puts spaces around an answer
    learn = [m["content"] + between + closing(tokenizer, template) for m in messages if m["role"] == "assistant"]
    return {"messages": messages, "generation": generation, "text": text, "ids": ids, "learn": "|".join(learn)}


if __name__ == "__main__":
    where = sys.argv[1] if len(sys.argv) > 1 else os.path.join(HERE, "../data/chat.json")
    out = []
    for name, template in FAMILIES:
        tokenizer = AutoTokenizer.from_pretrained(os.path.join(HERE, "../data/tok", name))
        out.append({"tokenizer": name, "template": template, "cases": [case(tokenizer, template, t) for t in TALKS]})
    with open(where, "w") as f:
        f.write("[\n" + ",\n".join(json.dumps(x) for x in out) + "\n]\n")
    print(where, os.path.getsize(where), "bytes")
