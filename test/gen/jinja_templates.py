"""Chat templates in the manner of the families that people use, each written anew from what its layout is; for jinja.py.

A row: name, bos, eos, template."""

CHATML_OPEN = "{%- if add_generation_prompt %}\n    {{- '<|im_start|>assistant\\n' }}\n{%- endif %}\n"

TEMPLATES = [
    ("chatml", None, "<|im_end|>", """{% for turn in messages %}{{ '<|im_start|>' + turn['role'] + '\n' + turn['content'] + '<|im_end|>' + '\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"""),

    ("chatml-bos", "<s>", "<|im_end|>", """{{ bos_token }}{% for turn in messages %}{{'<|im_start|>' ~ turn.role ~ '
' ~ turn.content ~ '<|im_end|>' ~ '
'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant
' }}{% endif %}"""),

    ("chatml-trim", None, "<|im_end|>", """{% for turn in messages %}
{{ '<|im_start|>' + turn['role'] + '\\n' }}{% generation %}{{ turn['content'] | trim }}{% endgeneration %}{{ '<|im_end|>\\n' }}
{% endfor %}
""" + CHATML_OPEN),

    ("chatml-apostrophe", None, "<|im_end|>", """{%- if not messages or messages[0].role != 'system' -%}
    {{- "<|im_start|>system\\nYou're the bookshop's own helper.<|im_end|>\\n" -}}
{%- endif -%}
{%- for turn in messages -%}
    {{- '<|im_start|>' ~ turn.role ~ '\\n' ~ turn.content ~ '<|im_end|>\\n' -}}
{%- endfor -%}
""" + CHATML_OPEN),

    ("chatml-backslash", None, "<|im_end|>", """{%- if messages[0]['role'] == 'system' %}
    {%- set opening = messages[0]['content'] %}
    {%- set turns = messages[1:] %}
{%- else %}
    {%- set opening = 'Reason step by step; write the result as \\\\boxed{}.' %}
    {%- set turns = messages %}
{%- endif %}
{{- '<|im_start|>system\\n' + opening + '<|im_end|>\\n' }}
{%- for turn in turns %}
    {{- '<|im_start|>' + turn.role + '\\n' + turn.content + '<|im_end|>\\n' }}
{%- endfor %}
""" + CHATML_OPEN),

    ("llama2", "<s>", "</s>", """{% if messages[0]['role'] == 'system' %}{% set said = messages[0]['content'] %}{% set turns = messages[1:] %}{% else %}{% set said = false %}{% set turns = messages %}{% endif %}{% for turn in turns %}{% if (turn['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('user and assistant must take turns: user, assistant, user ...') }}{% endif %}{% if loop.index0 == 0 and said != false %}{% set text = '<<SYS>>\\n' + said + '\\n<</SYS>>\\n\\n' + turn['content'] %}{% else %}{% set text = turn['content'] %}{% endif %}{% if turn['role'] == 'user' %}{{ bos_token + '[INST] ' + text.strip() + ' [/INST]' }}{% elif turn['role'] == 'assistant' %}{{ ' ' + text.strip() + ' ' + eos_token }}{% endif %}{% endfor %}"""),

    ("llama3", "<|begin_of_text|>", "<|eot_id|>", """{% for turn in messages %}{% set text = '<|start_header_id|>' + turn['role'] + '<|end_header_id|>\n\n' + turn['content'] | trim + '<|eot_id|>' %}{% if loop.index0 == 0 %}{% set text = bos_token + text %}{% endif %}{{ text }}{% endfor %}{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}"""),

    ("llama3.1", "<|begin_of_text|>", "<|eot_id|>", """{{- bos_token }}
{%- if not today is defined %}
    {%- set today = "26 Jul 2024" %}
{%- endif %}
{%- if not tools is defined %}
    {%- set tools = none %}
{%- endif %}
{%- if not in_user_turn is defined %}
    {%- set in_user_turn = true %}
{%- endif %}

{#- The system's words are taken out, so that they can be put where they belong. -#}
{%- if messages and messages[0]['role'] == 'system' %}
    {%- set said = messages[0]['content'] | trim %}
    {%- set messages = messages[1:] %}
{%- else %}
    {%- set said = "" %}
{%- endif %}

{{- "<|start_header_id|>system<|end_header_id|>\\n\\n" }}
{%- if tools is not none %}
    {{- "Environment: ipython\\n" }}
{%- endif %}
{{- "Cutting Knowledge Date: December 2023\\n" }}
{{- "Today Date: " + today + "\\n\\n" }}
{%- if tools is not none and not in_user_turn %}
    {{- "These functions can be called. Answer with JSON.\\n\\n" }}
    {%- for tool in tools %}
        {{- tool | tojson(indent=4) }}
        {{- "\\n\\n" }}
    {%- endfor %}
{%- endif %}
{{- said }}
{{- "<|eot_id|>" }}

{#- The tools stand in the first question. -#}
{%- if in_user_turn and tools is not none %}
    {%- if messages | length != 0 %}
        {%- set question = messages[0]['content'] | trim %}
        {%- set messages = messages[1:] %}
    {%- else %}
        {{- raise_exception("There is no first question to put the tools into.") }}
    {%- endif %}
    {{- '<|start_header_id|>user<|end_header_id|>\\n\\n' -}}
    {{- "Answer with a JSON for a function call, in the form " }}
    {{- '{"name": function, "parameters": dictionary of arguments}.\\n\\n' }}
    {%- for tool in tools %}
        {{- tool | tojson(indent=4) }}
        {{- "\\n\\n" }}
    {%- endfor %}
    {{- question + "<|eot_id|>" }}
{%- endif %}

{%- for turn in messages %}
    {%- if not (turn.role == 'ipython' or turn.role == 'tool' or 'tool_calls' in turn) %}
        {{- '<|start_header_id|>' + turn['role'] + '<|end_header_id|>\\n\\n' + turn['content'] | trim + '<|eot_id|>' }}
    {%- elif 'tool_calls' in turn %}
        {%- if not turn.tool_calls | length == 1 %}
            {{- raise_exception("One call at a time!") }}
        {%- endif %}
        {%- set call = turn.tool_calls[0].function %}
        {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' -}}
        {{- '{"name": "' + call.name + '", ' }}
        {{- '"parameters": ' }}
        {{- call.arguments | tojson }}
        {{- "}" }}
        {{- "<|eot_id|>" }}
    {%- else %}
        {{- "<|start_header_id|>ipython<|end_header_id|>\\n\\n" }}
        {%- if turn.content is mapping or turn.content is iterable %}
            {{- turn.content | tojson }}
        {%- else %}
            {{- turn.content }}
        {%- endif %}
        {{- "<|eot_id|>" }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}
{%- endif %}
"""),

    ("llama3.2-date", "<|begin_of_text|>", "<|eot_id|>", """{{- bos_token }}
{%- if not date_string is defined %}
    {%- if strftime_now is defined %}
        {%- set date_string = strftime_now("%d %b %Y") %}
    {%- else %}
        {%- set date_string = "26 Jul 2024" %}
    {%- endif %}
{%- endif %}
{{- "<|start_header_id|>system<|end_header_id|>\\n\\nToday is " + date_string + ", " + strftime_now('%A %-d %B, %H:%M') + ".\\n" }}
{%- if messages[0].role == 'system' %}{{- messages[0].content | trim }}{% set messages = messages[1:] %}{%- endif %}
{{- "<|eot_id|>" }}
{%- for turn in messages %}
    {{- '<|start_header_id|>' ~ turn.role ~ '<|end_header_id|>\\n\\n' }}
    {%- if turn.content is string %}
        {{- turn.content | trim }}
    {%- else %}
        {%- for part in turn.content %}
            {%- if part['type'] == 'image' %}
                {{- '<|image|>' }}
            {%- elif part['type'] == 'text' %}
                {{- part['text'] }}
            {%- endif %}
        {%- endfor %}
    {%- endif %}
    {{- '<|eot_id|>' }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}
{%- endif %}
"""),

    ("mistral-v1", "<s>", "</s>", """{{ bos_token }}{% for turn in messages %}{% if (turn['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('Roles must take turns: user, assistant, user ...') }}{% endif %}{% if turn['role'] == 'user' %}{{ '[INST] ' + turn['content'] + ' [/INST]' }}{% elif turn['role'] == 'assistant' %}{{ turn['content'] + eos_token + ' ' }}{% else %}{{ raise_exception('Only user and assistant are known here!') }}{% endif %}{% endfor %}"""),

    ("mistral-v3", "<s>", "</s>", """{%- if messages[0]["role"] == "system" %}
    {%- set said = messages[0]["content"] %}
    {%- set turns = messages[1:] %}
{%- else %}
    {%- set turns = messages %}
{%- endif %}
{%- if not tools is defined %}
    {%- set tools = none %}
{%- endif %}
{%- set questions = turns | selectattr("role", "equalto", "user") | list %}

{%- set ns = namespace() %}
{%- set ns.index = 0 %}
{%- for turn in turns %}
    {%- if not (turn.role == "tool" or turn.role == "tool_results" or (turn.tool_calls is defined and turn.tool_calls is not none)) %}
        {%- if (turn["role"] == "user") != (ns.index % 2 == 0) %}
            {{- raise_exception("After the system, user and assistant must take turns") }}
        {%- endif %}
        {%- set ns.index = ns.index + 1 %}
    {%- endif %}
{%- endfor %}

{{- bos_token }}
{%- for turn in turns %}
    {%- if turn["role"] == "user" %}
        {%- if tools is not none and (turn == questions[-1]) %}
            {{- "[AVAILABLE_TOOLS] [" }}
            {%- for tool in tools %}
                {%- set tool = tool.function %}
                {{- '{"type": "function", "function": {' }}
                {%- for key, val in tool.items() if key != "return" %}
                    {%- if val is string %}
                        {{- '"' + key + '": "' + val + '"' }}
                    {%- else %}
                        {{- '"' + key + '": ' + val | tojson }}
                    {%- endif %}
                    {%- if not loop.last %}
                        {{- ", " }}
                    {%- endif %}
                {%- endfor %}
                {{- "}}" }}
                {%- if not loop.last %}
                    {{- ", " }}
                {%- else %}
                    {{- "]" }}
                {%- endif %}
            {%- endfor %}
            {{- "[/AVAILABLE_TOOLS]" }}
        {%- endif %}
        {%- if loop.last and said is defined %}
            {{- "[INST] " + said + "\\n\\n" + turn["content"] + "[/INST]" }}
        {%- else %}
            {{- "[INST] " + turn["content"] + "[/INST]" }}
        {%- endif %}
    {%- elif turn.tool_calls is defined and turn.tool_calls is not none %}
        {{- "[TOOL_CALLS] [" }}
        {%- for call in turn.tool_calls %}
            {%- set out = call.function | tojson %}
            {{- out[:-1] }}
            {%- if not call.id is defined or call.id | length != 9 %}
                {{- raise_exception("A call's id is a text of nine letters and digits!") }}
            {%- endif %}
            {{- ', "id": "' + call.id + '"}' }}
            {%- if not loop.last %}
                {{- ", " }}
            {%- else %}
                {{- "]" + eos_token }}
            {%- endif %}
        {%- endfor %}
    {%- elif turn["role"] == "assistant" %}
        {{- " " + turn["content"] | trim + eos_token }}
    {%- elif turn["role"] == "tool_results" or turn["role"] == "tool" %}
        {%- if turn.content is defined and turn.content.content is defined %}
            {%- set content = turn.content.content %}
        {%- else %}
            {%- set content = turn.content %}
        {%- endif %}
        {{- '[TOOL_RESULTS] {"content": ' + content | string + ", " }}
        {{- '"call_id": "' + (turn.tool_call_id or 'none') + '"}[/TOOL_RESULTS]' }}
    {%- else %}
        {{- raise_exception("Only user and assistant are known, and one system at the beginning!") }}
    {%- endif %}
{%- endfor %}
"""),

    ("mistral-tekken", "<s>", "</s>", """{%- set usual = "You are a model that answers in short sentences." %}
{{- bos_token }}
{%- if messages[0]['role'] == 'system' %}
    {%- if messages[0]['content'] is string %}
        {%- set said = messages[0]['content'] %}
    {%- else %}
        {%- set said = messages[0]['content'][0]['text'] %}
    {%- endif %}
    {%- set turns = messages[1:] %}
{%- else %}
    {%- set said = usual %}
    {%- set turns = messages %}
{%- endif %}
{{- '[SYSTEM_PROMPT]' + said + '[/SYSTEM_PROMPT]' }}

{%- for turn in turns %}
    {%- if turn['role'] == 'user' %}
        {%- if turn['content'] is string %}
            {{- '[INST]' + turn['content'] + '[/INST]' }}
        {%- else %}
            {{- '[INST]' }}
            {%- for block in turn['content'] %}
                {%- if block['type'] == 'text' %}
                    {{- block['text'] }}
                {%- elif block['type'] in ['image', 'image_url'] %}
                    {{- '[IMG]' }}
                {%- else %}
                    {{- raise_exception('Only text and images can stand in a message!') }}
                {%- endif %}
            {%- endfor %}
            {{- '[/INST]' }}
        {%- endif %}
    {%- elif turn['role'] == 'system' %}
        {{- '[SYSTEM_PROMPT]' + turn['content'] + '[/SYSTEM_PROMPT]' }}
    {%- elif turn['role'] == 'assistant' %}
        {%- if turn['content'] is string %}
            {{- turn['content'] + eos_token }}
        {%- else %}
            {{- turn['content'][0]['text'] + eos_token }}
        {%- endif %}
    {%- else %}
        {{- raise_exception('Only user, system and assistant are known!') }}
    {%- endif %}
{%- endfor %}
"""),

    ("qwen2.5", None, "<|im_end|>", """{%- if tools %}
    {{- '<|im_start|>system\\n' }}
    {%- if messages[0]['role'] == 'system' %}
        {{- messages[0]['content'] }}
    {%- else %}
        {{- 'You are a model that helps.' }}
    {%- endif %}
    {{- "\\n\\n# Tools\\n\\nYou may call one or more of these functions.\\n\\nTheir signatures stand between <tools></tools>:\\n<tools>" }}
    {%- for tool in tools %}
        {{- "\\n" }}
        {{- tool | tojson }}
    {%- endfor %}
    {{- "\\n</tools>\\n\\nFor each call write JSON between <tool_call></tool_call>:\\n<tool_call>\\n{\\"name\\": <its name>, \\"arguments\\": <its arguments>}\\n</tool_call><|im_end|>\\n" }}
{%- else %}
    {%- if messages[0]['role'] == 'system' %}
        {{- '<|im_start|>system\\n' + messages[0]['content'] + '<|im_end|>\\n' }}
    {%- else %}
        {{- '<|im_start|>system\\nYou are a model that helps.<|im_end|>\\n' }}
    {%- endif %}
{%- endif %}
{%- for message in messages %}
    {%- if (message.role == "user") or (message.role == "system" and not loop.first) or (message.role == "assistant" and not message.tool_calls) %}
        {{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>' + '\\n' }}
    {%- elif message.role == "assistant" %}
        {{- '<|im_start|>' + message.role }}
        {%- if message.content %}
            {{- '\\n' + message.content }}
        {%- endif %}
        {%- for tool_call in message.tool_calls %}
            {%- if tool_call.function is defined %}
                {%- set tool_call = tool_call.function %}
            {%- endif %}
            {{- '\\n<tool_call>\\n{"name": "' }}
            {{- tool_call.name }}
            {{- '", "arguments": ' }}
            {{- tool_call.arguments | tojson }}
            {{- '}\\n</tool_call>' }}
        {%- endfor %}
        {{- '<|im_end|>\\n' }}
    {%- elif message.role == "tool" %}
        {%- if (loop.index0 == 0) or (messages[loop.index0 - 1].role != "tool") %}
            {{- '<|im_start|>user' }}
        {%- endif %}
        {{- '\\n<tool_response>\\n' }}
        {{- message.content }}
        {{- '\\n</tool_response>' }}
        {%- if loop.last or (messages[loop.index0 + 1].role != "tool") %}
            {{- '<|im_end|>\\n' }}
        {%- endif %}
    {%- endif %}
{%- endfor %}
""" + CHATML_OPEN),

    ("qwen3", None, "<|im_end|>", """{%- if tools %}
    {{- '<|im_start|>system\\n' }}
    {%- if messages[0].role == 'system' %}
        {{- messages[0].content + '\\n\\n' }}
    {%- endif %}
    {{- "# Tools\\n\\nYou may call these functions:\\n<tools>" }}
    {%- for tool in tools %}
        {{- "\\n" }}
        {{- tool | tojson }}
    {%- endfor %}
    {{- "\\n</tools><|im_end|>\\n" }}
{%- elif messages[0].role == 'system' %}
    {{- '<|im_start|>system\\n' + messages[0].content + '<|im_end|>\\n' }}
{%- endif %}
{%- set ns = namespace(searching=true, last_question=messages|length - 1) %}
{%- for message in messages[::-1] %}
    {%- set index = (messages|length - 1) - loop.index0 %}
    {%- if ns.searching and message.role == "user" and message.content is string and not(message.content.startswith('<tool_response>') and message.content.endswith('</tool_response>')) %}
        {%- set ns.searching = false %}
        {%- set ns.last_question = index %}
    {%- endif %}
{%- endfor %}
{%- for message in messages %}
    {%- if message.content is string %}
        {%- set content = message.content %}
    {%- else %}
        {%- set content = '' %}
    {%- endif %}
    {%- if (message.role == "user") or (message.role == "system" and not loop.first) %}
        {{- '<|im_start|>' + message.role + '\\n' + content + '<|im_end|>' + '\\n' }}
    {%- elif message.role == "assistant" %}
        {%- set thought = '' %}
        {%- if message.reasoning_content is string %}
            {%- set thought = message.reasoning_content %}
        {%- else %}
            {%- if '</think>' in content %}
                {%- set thought = content.split('</think>')[0].rstrip('\\n').split('<think>')[-1].lstrip('\\n') %}
                {%- set content = content.split('</think>')[-1].lstrip('\\n') %}
            {%- endif %}
        {%- endif %}
        {%- if loop.index0 > ns.last_question %}
            {%- if loop.last or (not loop.last and thought) %}
                {{- '<|im_start|>' + message.role + '\\n<think>\\n' + thought.strip('\\n') + '\\n</think>\\n\\n' + content.lstrip('\\n') }}
            {%- else %}
                {{- '<|im_start|>' + message.role + '\\n' + content }}
            {%- endif %}
        {%- else %}
            {{- '<|im_start|>' + message.role + '\\n' + content }}
        {%- endif %}
        {%- if message.tool_calls %}
            {%- for call in message.tool_calls %}
                {%- if (loop.first and content) or (not loop.first) %}
                    {{- '\\n' }}
                {%- endif %}
                {%- if call.function %}
                    {%- set call = call.function %}
                {%- endif %}
                {{- '<tool_call>\\n{"name": "' }}
                {{- call.name }}
                {{- '", "arguments": ' }}
                {%- if call.arguments is string %}
                    {{- call.arguments }}
                {%- else %}
                    {{- call.arguments | tojson }}
                {%- endif %}
                {{- '}\\n</tool_call>' }}
            {%- endfor %}
        {%- endif %}
        {{- '<|im_end|>\\n' }}
    {%- elif message.role == "tool" %}
        {%- if loop.first or (loop.previtem.role != "tool") %}
            {{- '<|im_start|>user' }}
        {%- endif %}
        {{- '\\n<tool_response>\\n' }}
        {{- content }}
        {{- '\\n</tool_response>' }}
        {%- if loop.last or (loop.nextitem.role != "tool") %}
            {{- '<|im_end|>\\n' }}
        {%- endif %}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
    {%- if enable_thinking is defined and enable_thinking is false %}
        {{- '<think>\\n\\n</think>\\n\\n' }}
    {%- endif %}
{%- endif %}
"""),

    ("qwen3-coder", None, "<|im_end|>", """{% macro put_more(holder, known) %}
    {%- if holder is mapping %}
        {%- set known = known or [] %}
        {%- for key in holder.keys() %}
            {%- if key not in known %}
                {%- if holder[key] is mapping or (holder[key] is sequence and holder[key] is not string) %}
                    {{- '\\n<' ~ key ~ '>' ~ (holder[key] | tojson | safe) ~ '</' ~ key ~ '>' }}
                {%- else %}
                    {{- '\\n<' ~ key ~ '>' ~ (holder[key] | string) ~ '</' ~ key ~ '>' }}
                {%- endif %}
            {%- endif %}
        {%- endfor %}
    {%- endif %}
{% endmacro %}
{%- if messages[0]["role"] == "system" %}
    {%- set said = messages[0]["content"] %}
    {%- set turns = messages[1:] %}
{%- else %}
    {%- set turns = messages %}
{%- endif %}
{%- if not tools is defined %}
    {%- set tools = [] %}
{%- endif %}
{%- if said is defined %}
    {{- "<|im_start|>system\\n" + said }}
{%- elif tools is iterable and tools | length > 0 %}
    {{- "<|im_start|>system\\nYou call functions." }}
{%- endif %}
{%- if tools is iterable and tools | length > 0 %}
    {{- "\\n\\n# Tools\\n\\n<tools>" }}
    {%- for tool in tools %}
        {%- if tool.function is defined %}
            {%- set tool = tool.function %}
        {%- endif %}
        {{- "\\n<function>\\n<name>" ~ tool.name ~ "</name>" }}
        {%- if tool.description is defined %}
            {{- '\\n<description>' ~ (tool.description | trim) ~ '</description>' }}
        {%- endif %}
        {{- '\\n<parameters>' }}
        {%- if tool.parameters is defined and tool.parameters is mapping and tool.parameters.properties is defined and tool.parameters.properties is mapping %}
            {%- for name, fields in tool.parameters.properties | items %}
                {{- '\\n<parameter>' }}
                {{- '\\n<name>' ~ name ~ '</name>' }}
                {%- if fields.type is defined %}
                    {{- '\\n<type>' ~ (fields.type | string) ~ '</type>' }}
                {%- endif %}
                {{- put_more(fields, ['name', 'type']) }}
                {{- '\\n</parameter>' }}
            {%- endfor %}
        {%- endif %}
        {{- put_more(tool.parameters, ['type', 'properties']) }}
        {{- '\\n</parameters>' }}
        {{- '\\n</function>' }}
    {%- endfor %}
    {{- "\\n</tools>" }}
{%- endif %}
{%- if said is defined or (tools is iterable and tools | length > 0) %}
    {{- '<|im_end|>\\n' }}
{%- endif %}
{%- for message in turns %}
    {%- if message.role == "assistant" and message.tool_calls is defined and message.tool_calls is iterable and message.tool_calls | length > 0 %}
        {{- '<|im_start|>' + message.role }}
        {%- if message.content is defined and message.content is string and message.content | trim | length > 0 %}
            {{- '\\n' + message.content | trim + '\\n' }}
        {%- endif %}
        {%- for call in message.tool_calls %}
            {%- if call.function is defined %}
                {%- set call = call.function %}
            {%- endif %}
            {{- '\\n<tool_call>\\n<function=' + call.name + '>\\n' }}
            {%- if call.arguments is mapping %}
                {%- for name, value in call.arguments | items %}
                    {{- '<parameter=' + name + '>\\n' }}
                    {%- set value = value | tojson | safe if value is mapping or (value is sequence and value is not string) else value | string %}
                    {{- value }}
                    {{- '\\n</parameter>\\n' }}
                {%- endfor %}
            {%- endif %}
            {{- '</function>\\n</tool_call>' }}
        {%- endfor %}
        {{- '<|im_end|>\\n' }}
    {%- elif message.role == "user" or message.role == "system" or message.role == "assistant" %}
        {{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>' + '\\n' }}
    {%- elif message.role == "tool" %}
        {%- if loop.previtem and loop.previtem.role != "tool" %}
            {{- '<|im_start|>user\\n' }}
        {%- endif %}
        {{- '<tool_response>\\n' ~ message.content ~ '\\n</tool_response>\\n' }}
        {%- if not loop.last and loop.nextitem.role != "tool" %}
            {{- '<|im_end|>\\n' }}
        {%- elif loop.last %}
            {{- '<|im_end|>\\n' }}
        {%- endif %}
    {%- else %}
        {{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' }}
    {%- endif %}
{%- endfor %}
""" + CHATML_OPEN),

    ("phi3", "<s>", "<|end|>", """{{ bos_token }}{% for turn in messages %}{% if turn['role'] == 'system' and turn['content'] %}{{'<|system|>
' + turn['content'] + '<|end|>
'}}{% elif turn['role'] == 'user' %}{{'<|user|>
' + turn['content'] + '<|end|>
'}}{% elif turn['role'] == 'assistant' %}{{'<|assistant|>
'}}{% generation %}{{ turn['content'] + '<|end|>
'}}{% endgeneration %}{% endif %}{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>
' }}{% else %}{{ eos_token }}{% endif %}"""),

    ("phi4", None, "<|im_end|>", """{% for turn in messages %}{% if (turn['role'] == 'system') %}{{'<|im_start|>system<|im_sep|>' + turn['content'] + '<|im_end|>'}}{% elif (turn['role'] == 'user') %}{{'<|im_start|>user<|im_sep|>' + turn['content'] + '<|im_end|>'}}{% elif (turn['role'] == 'assistant') %}{{'<|im_start|>assistant<|im_sep|>'}}{% generation %}{{turn['content'] + '<|im_end|>'}}{% endgeneration %}{% endif %}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant<|im_sep|>' }}{% endif %}"""),

    ("phi4-mini", None, "<|endoftext|>", """{% for turn in messages %}{% if turn['role'] == 'system' and 'tools' in turn and turn['tools'] is not none %}{{ '<|' + turn['role'] + '|>' + turn['content'] + '<|tool|>' + turn['tools'] + '<|/tool|>' + '<|end|>' }}{% else %}{{ '<|' + turn['role'] + '|>' + turn['content'] + '<|end|>' }}{% endif %}{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>' }}{% else %}{{ eos_token }}{% endif %}"""),

    ("gemma", "<bos>", "<eos>", """{{ bos_token }}{% if messages[0]['role'] == 'system' %}{{ raise_exception('A system role is not known here') }}{% endif %}{% for turn in messages %}{% if (turn['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('Roles must take turns: user, assistant, user ...') }}{% endif %}{% if (turn['role'] == 'assistant') %}{% set role = 'model' %}{% else %}{% set role = turn['role'] %}{% endif %}{{ '<start_of_turn>' + role + '
' + turn['content'] | trim + '<end_of_turn>
' }}{% endfor %}{% if add_generation_prompt %}{{'<start_of_turn>model
'}}{% endif %}"""),

    ("gemma3", "<bos>", "<eos>", """{{ bos_token }}
{%- if messages[0]['role'] == 'system' -%}
    {%- if messages[0]['content'] is string -%}
        {%- set prefix = messages[0]['content'] + '

' -%}
    {%- else -%}
        {%- set prefix = messages[0]['content'][0]['text'] + '

' -%}
    {%- endif -%}
    {%- set turns = messages[1:] -%}
{%- else -%}
    {%- set prefix = "" -%}
    {%- set turns = messages -%}
{%- endif -%}
{%- for turn in turns -%}
    {%- if (turn['role'] == 'user') != (loop.index0 % 2 == 0) -%}
        {{ raise_exception("Roles must take turns: user, assistant, user ...") }}
    {%- endif -%}
    {%- if (turn['role'] == 'assistant') -%}
        {%- set role = "model" -%}
    {%- else -%}
        {%- set role = turn['role'] -%}
    {%- endif -%}
    {{ '<start_of_turn>' + role + '
' + (prefix if loop.first else "") }}
    {%- if turn['content'] is string -%}
        {{ turn['content'] | trim }}
    {%- elif turn['content'] is iterable -%}
        {%- for part in turn['content'] -%}
            {%- if part['type'] == 'image' -%}
                {{ '<start_of_image>' }}
            {%- elif part['type'] == 'text' -%}
                {{ part['text'] | trim }}
            {%- endif -%}
        {%- endfor -%}
    {%- else -%}
        {{ raise_exception("This type of content is not known") }}
    {%- endif -%}
    {{ '<end_of_turn>
' }}
{%- endfor -%}
{%- if add_generation_prompt -%}
    {{'<start_of_turn>model
'}}
{%- endif -%}
"""),

    ("zephyr", "<s>", "</s>", """{% for turn in messages %}
{% if turn['role'] == 'user' %}
{{ '<|user|>
' + turn['content'] + eos_token }}
{% elif turn['role'] == 'system' %}
{{ '<|system|>
' + turn['content'] + eos_token }}
{% elif turn['role'] == 'assistant' %}
{{ '<|assistant|>
'  + turn['content'] + eos_token }}
{% endif %}
{% if loop.last and add_generation_prompt %}
{{ '<|assistant|>' }}
{% endif %}
{% endfor %}"""),

    ("tulu", "<|begin_of_text|>", "<|end_of_text|>", """{% for turn in messages %}{% if turn['role'] == 'system' %}{{ '<|system|>
' + turn['content'] + '
' }}{% elif turn['role'] == 'user' %}{{ '<|user|>
' + turn['content'] + '
' }}{% elif turn['role'] == 'assistant' %}{% if not loop.last %}{{ '<|assistant|>
'  + turn['content'] + eos_token + '
' }}{% else %}{{ '<|assistant|>
'  + turn['content'] + eos_token }}{% endif %}{% endif %}{% if loop.last and add_generation_prompt %}{{ '<|assistant|>
' }}{% endif %}{% endfor %}"""),

    ("vicuna", "<s>", "</s>", """{% if messages[0].role == 'system' %}{% set said = messages[0].content.strip() %}{% set turns = messages[1:] %}{% else %}{% set said = 'A curious person talks with a helpful machine.' %}{% set turns = messages %}{% endif %}{{ bos_token + said }}{% for turn in turns %}{% if loop.first %}{{ ' ' }}{% endif %}{% if turn.role == 'user' %}{{ 'USER: ' + turn.content.strip() + ' ' }}{% elif turn.role == 'assistant' %}{{ 'ASSISTANT: ' + turn.content.strip() + eos_token }}{% else %}{{ raise_exception('Only user and assistant follow the system') }}{% endif %}{% endfor %}{% if add_generation_prompt %}{{ 'ASSISTANT:' }}{% endif %}"""),

    ("r1-distill", "<\uff5cbegin\u2581of\u2581sentence\uff5c>", "<\uff5cend\u2581of\u2581sentence\uff5c>", """{% if not add_generation_prompt is defined %}{% set add_generation_prompt = false %}{% endif %}{% set ns = namespace(is_first=false, is_tool=false, is_output_first=true, said='') %}{%- for message in messages %}{%- if message['role'] == 'system' %}{% set ns.said = message['content'] %}{%- endif %}{%- endfor %}{{bos_token}}{{ns.said}}{%- for message in messages %}{%- if message['role'] == 'user' %}{%- set ns.is_tool = false -%}{{'<\uff5cUser\uff5c>' + message['content']}}{%- endif %}{%- if message['role'] == 'assistant' and message['content'] is none %}{%- set ns.is_tool = false -%}{%- for tool in message['tool_calls']%}{%- if not ns.is_first %}{{'<\uff5cAssistant\uff5c><\uff5ctool\u2581calls\u2581begin\uff5c><\uff5ctool\u2581call\u2581begin\uff5c>' + tool['type'] + '<\uff5ctool\u2581sep\uff5c>' + tool['function']['name'] + '\\n' + '```json' + '\\n' + tool['function']['arguments'] + '\\n' + '```' + '<\uff5ctool\u2581call\u2581end\uff5c>'}}{%- set ns.is_first = true -%}{%- endif %}{%- endfor %}{%- endif %}{%- if message['role'] == 'assistant' and message['content'] is not none %}{%- if ns.is_tool %}{{'<\uff5ctool\u2581outputs\u2581end\uff5c>' + message['content'] + '<\uff5cend\u2581of\u2581sentence\uff5c>'}}{%- set ns.is_tool = false -%}{%- else %}{% set content = message['content'] %}{% if '</think>' in content %}{% set content = content.split('</think>')[-1] %}{% endif %}{{'<\uff5cAssistant\uff5c>' + content + '<\uff5cend\u2581of\u2581sentence\uff5c>'}}{%- endif %}{%- endif %}{%- if message['role'] == 'tool' %}{%- set ns.is_tool = true -%}{%- if ns.is_output_first %}{{'<\uff5ctool\u2581outputs\u2581begin\uff5c><\uff5ctool\u2581output\u2581begin\uff5c>' + message['content'] + '<\uff5ctool\u2581output\u2581end\uff5c>'}}{%- set ns.is_output_first = false %}{%- else %}{{'\\n<\uff5ctool\u2581output\u2581begin\uff5c>' + message['content'] + '<\uff5ctool\u2581output\u2581end\uff5c>'}}{%- endif %}{%- endif %}{%- endfor -%}{% if ns.is_tool %}{{'<\uff5ctool\u2581outputs\u2581end\uff5c>'}}{% endif %}{% if add_generation_prompt and not ns.is_tool %}{{'<\uff5cAssistant\uff5c><think>\\n'}}{% endif %}"""),

    ("smollm2", "<|im_start|>", "<|im_end|>", """{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}{{ '<|im_start|>system
You are a small model that helps, named Pebble<|im_end|>
' }}{% endif %}{{'<|im_start|>' + message['role'] + '
' + message['content'] + '<|im_end|>' + '
'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant
' }}{% endif %}"""),

    ("smollm3", None, "<|im_end|>", """{# Whether it thinks aloud is said in the system turn. #}
{%- if enable_thinking is not defined -%}
{%- set enable_thinking = true -%}
{%- endif -%}
{%- if enable_thinking -%}
  {%- set reasoning_mode = "/think" -%}
{%- else -%}
  {%- set reasoning_mode = "/no_think" -%}
{%- endif -%}

{{- "<|im_start|>system\\n" -}}
{%- if messages[0].role == "system" -%}
  {%- set system_message = messages[0].content -%}
  {%- if "/no_think" in system_message -%}
    {%- set reasoning_mode = "/no_think" -%}
  {%- elif "/think" in system_message -%}
    {%- set reasoning_mode = "/think" -%}
  {%- endif -%}
  {%- set custom = system_message.replace("/no_think", "").replace("/think", "").rstrip() -%}
{%- endif -%}

{%- if "/system_override" in (system_message or "") -%}
  {{- custom.replace("/system_override", "").rstrip() -}}
  {{- "<|im_end|>\\n" -}}
{%- else -%}
  {{- "## Metadata\\n\\n" -}}
  {{- "Today: " ~ strftime_now("%d %B %Y") ~ "\\n" -}}
  {{- "Reasoning: " + reasoning_mode + "\\n\\n" -}}
  {{- "## Instructions\\n\\n" -}}
  {%- if custom -%}
    {{- custom + "\\n\\n" -}}
  {%- elif reasoning_mode == "/think" -%}
    {{- "Think between <think> and </think>, then answer.\\n\\n" -}}
  {%- else -%}
    {{- "Answer at once.\\n\\n" -}}
  {%- endif -%}
  {%- if xml_tools or tools -%}
    {{- "### Tools\\n\\n" -}}
    {%- set ns = namespace(out="<tools>\\n") -%}
    {%- for tool in (xml_tools or tools) -%}
      {%- set ns.out = ns.out ~ (tool | string) ~ "\\n" -%}
    {%- endfor -%}
    {{- ns.out + "</tools>" }}
    {{- "\\n\\n" -}}
  {%- endif -%}
  {{- "<|im_end|>\\n" -}}
{%- endif -%}
{# ───── the turns ───── #}
{%- for message in messages -%}
  {%- set content = message.content if message.content is string else "" -%}
  {%- if message.role == "user" -%}
    {{ "<|im_start|>" + message.role + "\\n"  + content + "<|im_end|>\\n" }}
  {%- elif message.role == "assistant" -%}
    {% generation %}
    {%- if reasoning_mode == "/think" -%}
      {{ "<|im_start|>assistant\\n" + content.lstrip("\\n") + "<|im_end|>\\n" }}
    {%- else -%}
      {{ "<|im_start|>assistant\\n" + "<think>\\n\\n</think>\\n" + content.lstrip("\\n") + "<|im_end|>\\n" }}
    {%- endif -%}
    {% endgeneration %}
  {%- elif message.role == "tool" -%}
    {{ "<|im_start|>" + "user\\n"  + content + "<|im_end|>\\n" }}
  {%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}
  {%- if reasoning_mode == "/think" -%}
    {{ "<|im_start|>assistant\\n" }}
  {%- else -%}
    {{ "<|im_start|>assistant\\n" + "<think>\\n\\n</think>\\n"  }}
  {%- endif -%}
{%- endif -%}
"""),

    ("granite", "<|end_of_text|>", "<|end_of_text|>", """{%- if tools %}
    {{- '<|start_of_role|>available_tools<|end_of_role|>
' }}
    {%- for tool in tools %}
    {{- tool | tojson(indent=4) }}
    {%- if not loop.last %}
        {{- '

' }}
    {%- endif %}
    {%- endfor %}
    {{- '<|end_of_text|>
' }}
{%- endif %}
{%- for message in messages %}
    {%- if message['role'] == 'system' %}
    {{- '<|start_of_role|>system<|end_of_role|>' + message['content'] + '<|end_of_text|>
' }}
    {%- elif message['role'] == 'user' %}
    {{- '<|start_of_role|>user<|end_of_role|>' + message['content'] + '<|end_of_text|>
' }}
    {%- elif message['role'] == 'assistant' %}
    {{- '<|start_of_role|>assistant<|end_of_role|>'  + message['content'] + '<|end_of_text|>
' }}
    {%- elif message['role'] == 'assistant_tool_call' %}
    {{- '<|start_of_role|>assistant<|end_of_role|><|tool_call|>' + message['content'] + '<|end_of_text|>
' }}
    {%- elif message['role'] == 'tool' or message['role'] == 'tool_response' %}
    {{- '<|start_of_role|>tool_response<|end_of_role|>' + message['content'] + '<|end_of_text|>
' }}
    {%- endif %}
    {%- if loop.last and add_generation_prompt %}
    {{- '<|start_of_role|>assistant' }}
        {%- if controls %}
            {{- ' ' + controls | tojson() }}
        {%- endif %}
    {{- '<|end_of_role|>' }}
    {%- endif %}
{%- endfor %}
"""),

    ("hermes-tools", "<|begin_of_text|>", "<|im_end|>", """{%- macro type_of(spec) %}
    {%- set known = {"string": "str", "number": "float", "integer": "int", "boolean": "bool"} %}
    {%- if known[spec.type] is defined %}
        {{- known[spec.type] }}
    {%- elif spec.type == "array" %}
        {{- "list" }}
        {%- if spec['items'] is mapping %}
            {{- "[" + type_of(spec['items']) + "]" }}
        {%- endif %}
    {%- elif spec.type == "object" %}
        {%- if spec.additionalProperties is mapping %}
            {{- "dict[str, " + type_of(spec.additionalProperties) + "]" }}
        {%- else %}
            {{- "dict" }}
        {%- endif %}
    {%- elif spec.type is iterable and spec.type is not string %}
        {{- "Union[" }}
        {%- for one in spec.type %}
            {{- type_of({"type": one}) }}
            {%- if not loop.last %}{{- "," }}{%- endif %}
        {%- endfor %}
        {{- "]" }}
    {%- else %}
        {{- "Any" }}
    {%- endif %}
{%- endmacro %}

{{- bos_token }}
{{- "<|im_start|>system\\nYou call functions. Their signatures: <tools> " }}
{%- if tools is iterable and tools | length > 0 %}
    {%- for tool in tools %}
        {%- if tool.function is defined %}
            {%- set tool = tool.function %}
        {%- endif %}
        {{- '{"type": "function", "function": ' }}
        {{- '{"name": "' + tool.name + '", ' }}
        {{- '"description": "' + tool.name + '(' }}
        {%- for name, fields in tool.parameters.properties | items %}
            {{- name + ": " + type_of(fields) }}
            {%- if not loop.last %}
                {{- ", " }}
            {%- endif %}
        {%- endfor %}
        {{- ")" }}
        {%- if tool.return is defined %}
            {{- " -> " + type_of(tool.return) }}
        {%- endif %}
        {{- " - " + tool.description + "\\n\\n" }}
        {%- for name, fields in tool.parameters.properties | items %}
            {%- if loop.first %}
                {{- "    Args:\\n" }}
            {%- endif %}
            {{- "        " + name + "(" + type_of(fields) + "): " + (fields.description | default('?') | trim) }}
            {%- if not loop.last %}{{- "\\n" }}{%- endif %}
        {%- endfor %}
        {{- '"' }}
        {{- ', "parameters": ' }}
        {%- if tool.parameters.properties | length == 0 %}
            {{- "{}" }}
        {%- else %}
            {{- tool.parameters | tojson }}
        {%- endif %}
        {{- "}" }}
        {%- if not loop.last %}
            {{- "\\n" }}
        {%- endif %}
    {%- endfor %}
{%- endif %}
{{- " </tools>" }}
{{- '<|im_end|>\\n' }}
{%- for message in messages %}
    {%- if message.role == "user" or message.role == "system" or (message.role == "assistant" and message.tool_calls is not defined) %}
        {{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>' + '\\n' }}
    {%- elif message.role == "assistant" %}
        {{- '<|im_start|>' + message.role }}
        {%- for call in message.tool_calls %}
            {{- '\\n<tool_call>\\n' }}
            {%- if call.function is defined %}
                {%- set call = call.function %}
            {%- endif %}
            {{- '{' }}
            {{- '"name": "' }}
            {{- call.name }}
            {{- '"' }}
            {%- if call.arguments is defined %}
                {{- ', ' }}
                {{- '"arguments": ' }}
                {%- if call.arguments is string %}
                    {{- call.arguments }}
                {%- else %}
                    {{- call.arguments | tojson }}
                {%- endif %}
            {%- endif %}
            {{- '}' }}
            {{- '\\n</tool_call>' }}
        {%- endfor %}
        {{- '<|im_end|>\\n' }}
    {%- elif message.role == "tool" %}
        {%- if loop.previtem and loop.previtem.role != "tool" %}
            {{- '<|im_start|>tool\\n' }}
        {%- endif %}
        {{- '<tool_response>\\n' }}
        {{- message.content }}
        {%- if not loop.last %}
            {{- '\\n</tool_response>\\n' }}
        {%- else %}
            {{- '\\n</tool_response>' }}
        {%- endif %}
        {%- if not loop.last and loop.nextitem.role != "tool" %}
            {{- '<|im_end|>' }}
        {%- elif loop.last %}
            {{- '<|im_end|>' }}
        {%- endif %}
    {%- endif %}
{%- endfor %}
""" + CHATML_OPEN),

    ("alpaca", None, "</s>", """{%- set parts = namespace(texts=[]) -%}
{%- for turn in messages -%}
    {%- if turn.role == 'system' -%}
        {%- set parts.texts = parts.texts + [turn.content | trim] -%}
    {%- elif turn.role == 'assistant' -%}
        {%- set parts.texts = parts.texts + ['### Response:\\n' ~ turn.content ~ eos_token] -%}
    {%- elif turn.role == 'user' -%}
        {%- set text -%}
### Instruction:
{{ turn.content }}
        {%- endset -%}
        {%- set parts.texts = parts.texts + [text] -%}
    {%- else -%}
        {%- continue -%}
    {%- endif -%}
{%- endfor -%}
{{- parts.texts | join('\\n\\n') -}}
{%- if add_generation_prompt -%}
{{- '\\n\\n### Response:\\n' -}}
{%- endif -%}
"""),

    ("command-r", "<BOS_TOKEN>", "<|END_OF_TURN_TOKEN|>", """{{ bos_token }}{% if messages[0]['role'] == 'system' %}{% set turns = messages[1:] %}{% set said = messages[0]['content'] %}{% elif false == true %}{% set turns = messages %}{% set said = 'Never said.' %}{% else %}{% set turns = messages %}{% set said = false %}{% endif %}{% if said != false %}{{ '<|START_OF_TURN_TOKEN|><|SYSTEM_TOKEN|>' + said + '<|END_OF_TURN_TOKEN|>' }}{% endif %}{% for turn in turns %}{% if (turn['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('Roles must take turns') }}{% endif %}{% set content = turn['content'] %}{% if turn['role'] == 'user' %}{{ '<|START_OF_TURN_TOKEN|><|USER_TOKEN|>' + content.strip() + '<|END_OF_TURN_TOKEN|>' }}{% elif turn['role'] == 'assistant' %}{{ '<|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>'  + content.strip() + '<|END_OF_TURN_TOKEN|>' }}{% endif %}{% endfor %}{% if add_generation_prompt %}{{ '<|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>' }}{% endif %}"""),

    ("olmo2-harmony", "<|startoftext|>", "<|return|>", """{#- Channels: what is thought, what is said. -#}
{%- macro heading(role, channel=none) -%}
    <|start|>{{ role }}{% if channel %}<|channel|>{{ channel }}{% endif %}<|message|>
{%- endmacro -%}
{%- macro wrapped() -%}{{ heading('user') ~ caller() ~ '<|end|>' }}{%- endmacro -%}
{%- set names = messages | selectattr('tool_calls', 'defined') | map(attribute='tool_calls') | list -%}
{{- heading('system') ~ 'Knowledge: 2024-06. Calls in the conversation: ' ~ names | length ~ '.' ~ '<|end|>' -}}
{%- for turn in messages if turn.role in ('user', 'assistant', 'tool', 'system') -%}
    {%- if turn.role == 'system' -%}
        {{- heading('developer') ~ '# Instructions\\n\\n' ~ (turn.content if turn.content is string else (turn.content | selectattr('type', '==', 'text') | map(attribute='text') | join('\\n'))) ~ '<|end|>' -}}
    {%- elif turn.role == 'assistant' -%}
        {%- if turn.thinking and loop.last -%}
            {{- heading('assistant', 'analysis') ~ turn.thinking ~ '<|end|>' -}}
        {%- endif -%}
        {%- for call in turn.tool_calls or [] -%}
            {{- heading('assistant to=functions.' ~ call.function.name, channel='commentary json') -}}
            {%- if call.function.arguments is string -%}{{ call.function.arguments }}{%- else -%}
            {%- for key, value in call.function.arguments | dictsort -%}
                {{- key | capitalize ~ '=' ~ value | tojson(ensure_ascii=true) -}}
                {{- '; ' if not loop.last -}}
            {%- endfor -%}{%- endif -%}
            {{- '<|call|>' -}}
        {%- endfor -%}
        {%- if turn.content -%}
            {%- generation -%}
            {{- heading('assistant', 'final') ~ (turn.content if turn.content is string else turn.content[0].text) -}}
            {{- '<|return|>' if loop.last else '<|end|>' -}}
            {%- endgeneration -%}
        {%- endif -%}
    {%- elif turn.role == 'tool' -%}
        {{- heading('functions.' ~ (turn.name | default('unknown', true)) ~ ' to=assistant', 'commentary') ~ turn.content | string | indent(2) ~ '<|end|>' -}}
    {%- else -%}
        {%- call(mark='|') wrapped() -%}{{ mark }}{{ turn.content if turn.content is string else turn.content | map(attribute='text', default='(image)') | join(mark) }}{%- endcall -%}
    {%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt %}<|start|>assistant{% endif -%}
"""),
]
