"""Chat templates that render the layouts of the families that people use: each is a program of our own, made from the
rendered layout alone (header tokens, where tools stand, blanks and newlines); for jinja.py.

A row: name, bos, eos, template."""

CHATML_OPEN = r"""{%- if add_generation_prompt -%}
    <|im_start|>assistant{{ '\n' }}
{%- endif %}
"""

TEMPLATES = [
    ("chatml", None, "<|im_end|>", """{% macro head(who) %}<|im_start|>{{ who }}
{% endmacro %}{% for m in messages %}{{ head(m['role']) + m['content'] + '<|im_end|>\n' }}{% endfor %}{% if add_generation_prompt %}{{ head('assistant') }}{% endif %}"""),

    ("chatml-bos", "<s>", "<|im_end|>", """{% set pieces = namespace(all=bos_token) %}{% for m in messages %}{% set pieces.all = [pieces.all, '<|im_start|>', m.role, '
', m.content, '<|im_end|>
'] | join %}{% endfor %}{{ pieces.all }}{% if add_generation_prompt %}<|im_start|>assistant{{ '
' }}{% endif %}"""),

    ("chatml-trim", None, "<|im_end|>", r"""{% for m in messages %}
{{ '<|im_start|>' + m['role'] + '\n' }}{% generation %}
{% filter trim %}
{{ m['content'] }}
{% endfilter %}
{% endgeneration %}<|im_end|>{{ '\n' }}
{% endfor %}
""" + CHATML_OPEN),

    ("chatml-apostrophe", None, "<|im_end|>", """{%- if not messages or messages[0].role != 'system' -%}
    {{- "<|im_start|>system\\nYou're the bookshop's own helper.<|im_end|>\\n" -}}
{%- endif -%}
{%- for turn in messages -%}
    {{- '<|im_start|>' ~ turn.role ~ '\\n' ~ turn.content ~ '<|im_end|>\\n' -}}
{%- endfor -%}
""" + CHATML_OPEN),

    ("chatml-backslash", None, "<|im_end|>", r"""{%- set usual = 'Show every step. The last line is \\boxed{the result}.' %}
{%- if messages[:1] | selectattr('role', '==', 'system') | list %}
    {%- set turns = messages %}
{%- else %}
    {%- set turns = [{'role': 'system', 'content': usual}] + messages %}
{%- endif %}
{%- for m in turns %}
    {{- '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}
{%- endfor %}
""" + CHATML_OPEN),

    ("llama2", "<s>", "</s>", r"""{% macro question(text) %}{{ bos_token ~ '[INST] ' ~ text.strip() ~ ' [/INST]' }}{% endmacro %}{% set sides = ['user', 'assistant'] %}{% set so_far = namespace(system='', turns=0) %}{% for m in messages %}{% set side = sides[so_far.turns % 2] %}{% if loop.index0 == 0 and m['role'] == 'system' %}{% set so_far.system = '<<SYS>>\n' + m['content'] + '\n<</SYS>>\n\n' %}{% elif m['role'] != side %}{{ raise_exception('it is the turn of the ' ~ side ~ ', not of the ' ~ m['role']) }}{% else %}{% set so_far.turns = so_far.turns + 1 %}{% if side == 'assistant' %}{{ ' ' + m['content'].strip() + ' ' + eos_token }}{% else %}{{ question(so_far.system + m['content']) }}{% set so_far.system = '' %}{% endif %}{% endif %}{% endfor %}"""),

    ("llama3", "<|begin_of_text|>", "<|eot_id|>", """{% macro head(who) %}<|start_header_id|>{{ who }}<|end_header_id|>{{ '\n\n' }}{% endmacro %}{% for m in messages %}{% if loop.index0 == 0 %}{{ bos_token }}{% endif %}{{ head(m.role) + m.content | trim + '<|eot_id|>' }}{% endfor %}{% if add_generation_prompt %}{{ head('assistant') }}{% endif %}"""),

    ("llama3.1", "<|begin_of_text|>", "<|eot_id|>", r"""{#- One macro for the frame of a turn, one for each kind of turn; what stands before the turns is collected first. -#}
{%- macro frame(who) -%}
    <|start_header_id|>{{ who }}<|end_header_id|>{{ '\n\n' + caller() + '<|eot_id|>' }}
{%- endmacro %}
{%- macro speech(m) %}{% call frame(m.role) %}{{ m.content | trim }}{% endcall %}{% endmacro %}
{%- macro request(m) %}
    {%- call frame('assistant') %}
        {%- for f in m.tool_calls | map(attribute='function') %}
            {%- if not loop.last %}{{ raise_exception('this layout has room for one call in a turn, here are ' ~ m.tool_calls | count) }}{% endif -%}
            {"name": "{{ f.name }}", "parameters": {{ f.arguments | tojson }}}
        {%- endfor %}
    {%- endcall %}
{%- endmacro %}
{%- macro outcome(m) %}
    {%- call frame('ipython') %}
        {%- if m.content is iterable %}{{ m.content | tojson }}{% else %}{{ m.content }}{% endif %}
    {%- endcall %}
{%- endmacro %}
{%- set first = 1 if messages and messages[0]['role'] == 'system' else 0 %}
{%- set signatures = [] if tools is none else tools | map('tojson', indent=4) | list %}
{%- set place = 'none' if not signatures else 'question' if in_user_turn | default(true) else 'system' %}
{%- set catalogue %}
    {%- for s in signatures %}{{ s ~ '\n\n' }}{% endfor %}
{%- endset %}

{{- bos_token }}
{%- call frame('system') %}
    {%- if place != 'none' %}{{ 'Runs in: ipython\n' }}{% endif %}
    {{- 'Has read up to: spring of 2023\nThe day is: ' ~ today | default('3 Jun 2024') ~ '\n\n' }}
    {%- if place == 'system' %}{{ 'What can be called, each called by an object of JSON:\n\n' ~ catalogue }}{% endif %}
    {%- for m in messages[:first] %}{{ m.content | trim }}{% endfor %}
{%- endcall %}
{%- if place == 'question' and messages | length == first %}
    {{- raise_exception('the tools belong into a question, and nobody asks one') }}
{%- endif %}
{%- for m in messages[first:] %}
    {%- if loop.first and place == 'question' %}
        {%- call frame('user') %}
            {{- 'Call what helps by one object, {"name": which, "parameters": {by name: value}}.\n\n' ~ catalogue ~ m.content | trim }}
        {%- endcall %}
    {%- elif m.tool_calls is defined %}{{ request(m) }}
    {%- elif m.role in ['tool', 'ipython'] %}{{ outcome(m) }}
    {%- else %}{{ speech(m) }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|start_header_id|>assistant<|end_header_id|>\n\n' }}
{%- endif %}
"""),

    ("llama3.2-date", "<|begin_of_text|>", "<|eot_id|>", r"""{%- macro shown(content) %}
    {%- if content is string %}{{ content | trim }}
    {%- elif content is iterable %}
        {%- set signs = {'image': '<|image|>'} %}
        {%- for piece in content if piece.type in ('image', 'text') %}{{ signs[piece.type] | default(piece.text) }}{% endfor %}
    {%- else %}{{ raise_exception('a turn without words or parts') }}
    {%- endif %}
{%- endmacro %}
{%- set day = date_string if date_string is defined else strftime_now('%d %b %Y') if strftime_now is defined else '3 Jun 2024' %}
{%- set clock = strftime_now('%A %-d %B, %H:%M') %}
{%- set heads = namespace(system='It is ' ~ day ~ ', ' ~ clock ~ '.\n', from=0) %}
{%- if messages[0].role == 'system' %}
    {%- set heads.from = 1 %}
    {%- set heads.system = heads.system ~ messages[0].content | trim %}
{%- endif %}
{{- bos_token ~ '<|start_header_id|>system<|end_header_id|>\n\n' ~ heads.system ~ '<|eot_id|>' }}
{%- for m in messages[heads.from:] -%}
    <|start_header_id|>{{ m.role }}<|end_header_id|>{{ '\n\n' + shown(m.content) }}<|eot_id|>
{%- endfor %}
{%- if add_generation_prompt -%}
    <|start_header_id|>assistant<|end_header_id|>{{ '\n\n' }}
{%- endif %}
"""),

    ("mistral-v1", "<s>", "</s>", r"""{{ bos_token }}{% set strangers = messages | rejectattr('role', 'in', ['user', 'assistant']) | map(attribute='role') | unique | list %}{% if strangers %}{{ raise_exception('no place in this layout for: ' + strangers | join(', ')) }}{% endif %}{% for m in messages %}{% if m.role != loop.cycle('user', 'assistant') %}{{ raise_exception('turn ' ~ loop.index ~ ' is spoken by the wrong side') }}{% elif loop.index0 % 2 == 0 %}[INST] {{ m['content'] + ' [/INST]' }}{% else %}{{ m['content'] + eos_token }} {% endif %}{% endfor %}"""),

    ("mistral-v3", "<s>", "</s>", r"""{#- First who speaks is checked, then each kind of turn has a macro. -#}
{%- macro signature(f) -%}
    {"type": "function", "function": {
    {%- for field in f | items if field[0] != 'return' -%}
        "{{ field[0] }}": {{ '"' + field[1] + '"' if field[1] is string else field[1] | tojson }}
        {{- '' if loop.last else ', ' }}
    {%- endfor -%}
    }}
{%- endmacro %}
{%- macro catalogue() -%}
    [AVAILABLE_TOOLS] [
    {%- for f in tools | map(attribute='function') %}{{ signature(f) ~ (', ' if not loop.last else '') }}{% endfor -%}
    ][/AVAILABLE_TOOLS]
{%- endmacro %}
{%- macro requests(m) -%}
    [TOOL_CALLS] [
    {%- for c in m.tool_calls %}
        {%- if c.id | default('') | length != 9 %}{{ raise_exception('an id of nine signs is missing at call ' ~ loop.index) }}{% endif %}
        {{- (c.function | tojson)[:-1] ~ ', "id": "' ~ c.id ~ '"}' ~ (', ' if not loop.last else '') }}
    {%- endfor %}]{{ eos_token }}
{%- endmacro %}
{%- macro outcome(m) %}
    {%- set inner = m.content.content if m.content.content is defined else m.content -%}
    [TOOL_RESULTS] {"content": {{ inner | string }}, "call_id": "{{ m.tool_call_id or 'none' }}"}[/TOOL_RESULTS]
{%- endmacro %}

{%- set ns = namespace(system='', turns=messages, speech=[], last=none) %}
{%- if messages[0].role == 'system' %}
    {%- set ns.system = messages[0].content + '\n\n' %}
    {%- set ns.turns = messages[1:] %}
{%- endif %}
{%- for m in ns.turns %}
    {%- if m.role == 'user' %}{% set ns.last = loop.index0 %}{% endif %}
    {%- if m.role not in ('tool', 'tool_results') and not m.tool_calls %}{% set ns.speech = ns.speech + [m.role] %}{% endif %}
{%- endfor %}
{%- set n = ns.speech | length %}
{%- if 'user' in ns.speech[1::2] or 2 * (ns.speech | select('==', 'user') | list | length) != n + n % 2 %}
    {{- raise_exception('question and answer must follow each other; here: ' ~ ns.speech | join(' ')) }}
{%- endif %}
{{- bos_token }}
{%- for m in ns.turns %}
    {%- if m.role == 'user' %}
        {%- if tools is defined and tools is not none and loop.index0 == ns.last %}{{ catalogue() }}{% endif -%}
        [INST] {{ (ns.system if loop.last else '') + m['content'] }}[/INST]
    {%- elif m.tool_calls %}{{ requests(m) }}
    {%- elif m.role.startswith('tool') %}{{ outcome(m) }}
    {%- elif m.role == 'assistant' %}{{ ' ' ~ m['content'] | trim ~ eos_token }}
    {%- else %}{{ raise_exception('a turn by ' ~ m.role ~ ' stands too late, or nowhere') }}
    {%- endif %}
{%- endfor %}
"""),

    ("mistral-tekken", "<s>", "</s>", r"""{%- macro text(content, only_first=false) %}
    {%- if content is string %}{{ content }}
    {%- elif only_first %}{{ content[0].text }}
    {%- else %}
        {%- for piece in content %}
            {%- if piece.type == 'text' %}{{ piece.text }}
            {%- elif piece.type.startswith('image') %}[IMG]
            {%- else %}{{ raise_exception('a part of the kind ' ~ piece.type ~ ' cannot be shown') }}
            {%- endif %}
        {%- endfor %}
    {%- endif %}
{%- endmacro %}
{%- set marks = {'system': ['[SYSTEM_PROMPT]', '[/SYSTEM_PROMPT]'], 'user': ['[INST]', '[/INST]'], 'assistant': ['', eos_token]} %}
{{- bos_token }}
{%- if messages[0]['role'] != 'system' %}
    {{- marks.system | join('Speak plainly, and never for long.') }}
{%- endif %}
{%- for m in messages %}
    {%- set mark = marks[m.role] %}
    {%- if mark is not defined %}{{ raise_exception('three may speak here: ' ~ marks.keys() | join(', ')) }}{% endif %}
    {{- mark | first + text(m['content'], only_first=m.role != 'user') + mark | last }}
{%- endfor %}
"""),

    ("qwen2.5", None, "<|im_end|>", r"""{#- Turns are collected as [who, text]; results that follow each other share one of the user's. -#}
{%- macro wrap(tag, text) %}{{ '\n<' ~ tag ~ '>\n' ~ text ~ '\n</' ~ tag ~ '>' }}{% endmacro %}
{%- set book = namespace(pages=[], results='') %}
{%- set opening = 'Be useful to whoever asks.' %}
{%- for m in messages + [{'role': ''}] %}
    {%- if m.role == 'tool' %}
        {%- set book.results = book.results ~ wrap('tool_response', m.content) %}
    {%- else %}
        {%- if book.results %}
            {%- set book.pages = book.pages + [['user', book.results]] %}
            {%- set book.results = '' %}
        {%- endif %}
        {%- if m.role == 'assistant' and m.tool_calls %}
            {%- set text %}
                {%- if m.content %}{{ '\n' ~ m.content }}{% endif %}
                {%- for c in m.tool_calls %}
                    {%- set f = c.function | default(c) %}
                    {{- wrap('tool_call', '{"name": "' ~ f.name ~ '", "arguments": ' ~ f.arguments | tojson ~ '}') }}
                {%- endfor %}
            {%- endset %}
            {%- set book.pages = book.pages + [[m.role, text]] %}
        {%- elif m.role in ('user', 'assistant', 'system') %}
            {%- set book.pages = book.pages + [[m.role, '\n' + m.content]] %}
        {%- endif %}
    {%- endif %}
{%- endfor %}
{%- if not book.pages or book.pages[0][0] != 'system' %}
    {%- set book.pages = [['system', '\n' ~ opening]] + book.pages %}
{%- endif %}
{%- for page in book.pages %}
    {{- '<|im_start|>' ~ page | join }}
    {%- if loop.first and tools %}
        {{- '\n\n# Functions\n\nHere is what can be called, one a line:\n<tools>\n' ~ tools | map('tojson') | join('\n') ~ '\n</tools>\n' }}
        {{- '\nA call is an object in marks of its own:' ~ wrap('tool_call', '{"name": which, "arguments": {by name: value}}') }}
    {%- endif %}
    {{- '<|im_end|>\n' }}
{%- endfor %}
""" + CHATML_OPEN),

    ("qwen3", None, "<|im_end|>", r"""{%- macro open(who) %}{{ '<|im_start|>' ~ who }}{% endmacro %}
{%- macro close() %}{{ '<|im_end|>\n' }}{% endmacro %}
{%- macro calls(m, after_text) %}
    {%- for c in m.tool_calls or [] %}
        {%- set f = c.function or c %}
        {{- '\n' if after_text or loop.index > 1 -}}
        <tool_call>{{ '\n' }}{"name": "{{ f.name }}", "arguments": {{ f.arguments if f.arguments is string else f.arguments | tojson }}}{{ '\n' }}</tool_call>
    {%- endfor %}
{%- endmacro %}
{#- What is thought is kept only behind the last question that a person asked. -#}
{%- set seen = namespace(question=messages | length - 1, asker=none, askers=0, thought='', spoken='') %}
{%- for m in messages[::-1] if m.role == 'user' and m.content is string %}
    {%- if seen.asker is none and not (m.content.startswith('<tool_response>') and m.content.endswith('</tool_response>')) %}
        {%- set seen.asker = loop.revindex0 %}
    {%- endif %}
{%- endfor %}
{%- for m in messages if seen.asker is not none %}
    {%- if m.role == 'user' and m.content is string %}
        {%- if seen.asker == seen.askers %}{% set seen.question = loop.index0 %}{% endif %}
        {%- set seen.askers = seen.askers + 1 %}
    {%- endif %}
{%- endfor %}
{%- set lead = [messages[0].content] if messages and messages[0].role == 'system' else [] %}
{%- if tools %}
    {%- set lead = lead + ['# Functions\n\nHere is what can be called:\n<tools>\n' ~ tools | map('tojson') | join('\n') ~ '\n</tools>'] %}
{%- endif %}
{%- if lead %}{{ open('system') ~ '\n' ~ lead | join('\n\n') ~ close() }}{% endif %}
{%- for m in messages %}
    {%- set text = m.content if m.content is string else '' %}
    {%- if m.role == 'assistant' %}
        {%- set halves = text.split('</think>') %}
        {%- set seen.thought = '' %}
        {%- set seen.spoken = text %}
        {%- if m.reasoning_content is string %}
            {%- set seen.thought = m.reasoning_content.strip('\n') %}
        {%- elif halves[1:] %}
            {%- set seen.thought = halves[0].rstrip('\n').split('<think>')[-1].strip('\n') %}
            {%- set seen.spoken = halves[-1].lstrip('\n') %}
        {%- endif %}
        {{- open(m.role) ~ '\n' }}
        {%- if loop.index0 > seen.question and (loop.last or seen.thought) -%}
            <think>{{ '\n' ~ seen.thought ~ '\n' }}</think>{{ '\n\n' ~ seen.spoken.lstrip('\n') }}
        {%- else %}{{ seen.spoken }}
        {%- endif %}
        {{- calls(m, seen.spoken) ~ close() }}
    {%- elif m.role == 'tool' %}
        {{- open('user') if loop.previtem is not defined or loop.previtem.role != m.role }}
        {{- ['\n<tool_response>', text, '</tool_response>'] | join('\n') }}
        {{- close() if loop.nextitem is not defined or loop.nextitem.role != m.role }}
    {%- elif m.role == 'user' or (m.role == 'system' and loop.index0) %}{{ open(m.role) ~ '\n' ~ text ~ close() }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- open('assistant') ~ '\n' ~ ('<think>\n\n</think>\n\n' if enable_thinking is defined and enable_thinking is false else '') }}
{%- endif %}
"""),

    ("qwen3-coder", None, "<|im_end|>", r"""{#- All in angle brackets: an element, a value in it, what a function has, what is called. -#}
{%- macro element(tag) %}{{ '\n<' ~ tag ~ '>' ~ caller() ~ '</' ~ tag ~ '>' }}{% endmacro %}
{%- macro plain(v) %}
    {%- if v is not string and (v is mapping or v is sequence) %}{{ v | tojson | safe }}{% else %}{{ v | string }}{% endif %}
{%- endmacro %}
{%- macro fields(d, but) %}
    {%- for pair in (d if d is mapping else {}) | items if pair | first not in but %}
        {%- call element(pair[0]) %}{{ plain(pair[1]) }}{% endcall %}
    {%- endfor %}
{%- endmacro %}
{%- macro described(f) %}
    {%- call element('function') %}
        {%- call element('name') %}{{ f.name }}{% endcall %}
        {%- if f.description is defined %}{% call element('description') %}{{ f.description | trim }}{% endcall %}{% endif %}
        {%- call element('parameters') %}
            {%- for name, field in (f.parameters.properties | default({})).items() %}
                {%- call element('parameter') %}
                    {%- call element('name') %}{{ name }}{% endcall %}
                    {%- if 'type' in field %}{% call element('type') %}{{ field.type | string }}{% endcall %}{% endif %}
                    {{- fields(field, ('name', 'type')) ~ '\n' }}
                {%- endcall %}
            {%- endfor %}
            {{- fields(f.parameters, ['type', 'properties']) ~ '\n' }}
        {%- endcall %}
        {{- '\n' }}
    {%- endcall %}
{%- endmacro %}
{%- macro called(f) %}
    {{- '\n<tool_call>\n<function=' ~ f.name ~ '>\n' }}
    {%- if f.arguments is mapping %}
        {%- for name in f.arguments.keys() %}
            {{- '<parameter=' + name + '>\n' + plain(f.arguments[name]) + '\n</parameter>\n' }}
        {%- endfor %}
    {%- endif %}
    {{- '</function>\n</tool_call>' }}
{%- endmacro %}

{%- set own = messages[0]['role'] == 'system' %}
{%- set listed = tools if tools is iterable else [] %}
{%- if own or listed | length %}
    {{- '<|im_start|>system\n' ~ (messages[0].content if own else 'Work with the functions below.') }}
    {%- for tool in listed %}
        {%- if loop.first %}{{ '\n\n# Functions\n\n<tools>' }}{% endif %}
        {{- described(tool.function | default(tool)) }}
        {%- if loop.last %}{{ '\n</tools>' }}{% endif %}
    {%- endfor %}
    {{- '<|im_end|>\n' }}
{%- endif %}
{%- for m in (messages[1:] if own else messages) %}
    {%- if m.role == 'tool' %}
        {%- if not loop.first and loop.previtem.role != 'tool' %}{{ '<|im_start|>user\n' }}{% endif %}
        {{- '<tool_response>\n' ~ m.content ~ '\n</tool_response>\n' }}
        {{- '<|im_end|>\n' if loop.last or loop.nextitem.role != 'tool' }}
    {%- else %}
        {{- '<|im_start|>' + m.role }}
        {%- for c in m.tool_calls or [] %}
            {%- if loop.first and (m.content or '') | trim %}{{ '\n' + m.content | trim + '\n' }}{% endif %}
            {{- called(c.function | default(c)) }}
        {%- else %}{{ '\n' + m.content }}
        {%- endfor %}
        {{- '<|im_end|>\n' }}
    {%- endif %}
{%- endfor %}
""" + CHATML_OPEN),

    ("phi3", "<s>", "<|end|>", """{{ bos_token }}{% for m in messages if m.role in ['user', 'assistant'] or m.role == 'system' %}{% if m.role != 'system' or m.content %}{{ '<|' + m.role + '|>
' }}{% endif %}{% if m.role == 'assistant' %}{% generation %}{{ m.content + '<|end|>
' }}{% endgeneration %}{% elif m.role == 'user' or m.content %}{{ m.content }}<|end|>
{% endif %}{% endfor %}{% if add_generation_prompt %}<|assistant|>
{% else %}{{ eos_token }}{% endif %}"""),

    ("phi4", None, "<|im_end|>", """{% macro head(who) %}<|im_start|>{{ who }}<|im_sep|>{% endmacro %}{% set known = ['system', 'user', 'assistant'] %}{% for m in messages %}{% if m.role == known[-1] %}{{ head(m.role) }}{% generation %}{{ m.content + '<|im_end|>' }}{% endgeneration %}{% elif m.role in known %}{{ head(m.role) + m.content + '<|im_end|>' }}{% endif %}{% endfor %}{% if add_generation_prompt %}{{ head(known | last) }}{% endif %}"""),

    ("phi4-mini", None, "<|endoftext|>", """{% for m in messages %}{% set what = [m.content] %}{% if m.role == 'system' and (m.tools is defined and m.tools is not none) %}{% set what = what + ['<|tool|>', m['tools'], '<|/tool|>'] %}{% endif %}<|{{ m['role'] }}|>{{ what | join }}<|end|>{% endfor %}{% if add_generation_prompt %}<|assistant|>{% else %}{{ eos_token }}{% endif %}"""),

    ("gemma", "<bos>", "<eos>", """{% set names = {'user': 'user', 'assistant': 'model'} %}{% set sides = names.keys() | list %}{{ bos_token }}{% for m in messages %}{% if m.role not in names %}{{ raise_exception('nobody is called ' ~ m.role ~ ' in this layout') }}{% elif sides[loop.index0 % 2] != m.role %}{{ raise_exception('turn ' ~ loop.index ~ ' should be by the ' ~ sides[loop.index0 % 2]) }}{% else %}{{ '<start_of_turn>' + names[m.role] + '
' + m.content | trim + '<end_of_turn>
' }}{% endif %}{% endfor %}{% if add_generation_prompt %}<start_of_turn>{{ names.assistant }}
{% endif %}"""),

    ("gemma3", "<bos>", "<eos>", """{%- macro piece(p) -%}
    {%- if p.type == 'text' -%}{{ p.text | trim }}{%- elif p.type == 'image' -%}<start_of_image>{%- endif -%}
{%- endmacro -%}
{%- macro turn(who) -%}<start_of_turn>{{ who }}
{{ caller() }}<end_of_turn>
{% endmacro -%}
{%- set ns = namespace(before='', skip=0) -%}
{%- if messages[0].role == 'system' -%}
    {%- set ns.skip = 1 -%}
    {%- set ns.before = (messages[0].content if messages[0].content is string else messages[0].content[0].text) + '

' -%}
{%- endif -%}
{{- bos_token -}}
{%- for m in messages[ns.skip:] -%}
    {%- set side = ['user', 'assistant'][loop.index0 % 2] -%}
    {%- if 'user' in (m.role, side) and m.role != side -%}
        {{- raise_exception('the sides do not speak by turns: see number ' ~ loop.index) -}}
    {%- endif -%}
    {%- call turn(m.role if m.role != 'assistant' else 'model') -%}
        {{- ns.before -}}
        {%- if m.content is string -%}{{ m.content | trim }}
        {%- elif m.content is iterable -%}{%- for p in m.content -%}{{ piece(p) }}{%- endfor -%}
        {%- else -%}{{ raise_exception('a turn is a text, or a list of parts') }}
        {%- endif -%}
    {%- endcall -%}
    {%- set ns.before = '' -%}
{%- endfor -%}
{%- if add_generation_prompt -%}
    <start_of_turn>model{{ '
' }}
{%- endif -%}
"""),

    ("zephyr", "<s>", "</s>", """{% for m in messages if m['role'] in ('user', 'system', 'assistant') %}
<|{{ m['role'] }}|>
{{ m['content'] + eos_token }}
{% if add_generation_prompt and loop.last %}
<|assistant|>
{% endif %}
{% endfor %}"""),

    ("tulu", "<|begin_of_text|>", "<|end_of_text|>", """{% macro block(m) %}{{ '<|' + m['role'] + '|>
' + m['content'] }}{% endmacro %}{% set ns = namespace(text='') %}{% for m in messages %}{% if m['role'] in ['system', 'user'] %}{% set ns.text = ns.text + block(m) + '
' %}{% elif m['role'] == 'assistant' %}{% set ns.text = ns.text + block(m) + eos_token %}{% if loop.last %}{{ ns.text }}{% set ns.text = '' %}{% else %}{% set ns.text = ns.text + '
' %}{% endif %}{% endif %}{% endfor %}{{ ns.text }}{% if messages and add_generation_prompt %}<|assistant|>
{% endif %}"""),

    ("vicuna", "<s>", "</s>", """{% set tags = {'user': 'USER: ', 'assistant': 'ASSISTANT: '} %}{% set ends = {'user': ' ', 'assistant': eos_token} %}{% set said = messages[:1] | selectattr('role', 'eq', 'system') | map(attribute='content') | first | default('A visitor puts questions to a patient machine.') %}{{ bos_token ~ said.strip() }}{% for m in messages[(1 if messages[0].role == 'system' else 0):] %}{% if m.role not in tags %}{{ raise_exception('a ' ~ m.role ~ ' cannot speak behind the opening') }}{% elif loop.first %}{{ ' ' + tags[m.role] + m.content.strip() + ends[m.role] }}{% else %}{{ tags[m.role] + m.content.strip() + ends[m.role] }}{% endif %}{% endfor %}{% if add_generation_prompt %}{{ tags.assistant | trim }}{% endif %}"""),

    ("r1-distill", "<\uff5cbegin\u2581of\u2581sentence\uff5c>", "<\uff5cend\u2581of\u2581sentence\uff5c>", """{#- The last system is the one that counts; results stand in one frame, which what follows closes. -#}
{%- macro mark(name) -%}<\uff5c{{ name | replace(' ', '\u2581') }}\uff5c>{%- endmacro -%}
{%- macro request(c) -%}
    {{- mark('tool calls begin') ~ mark('tool call begin') ~ c['type'] ~ mark('tool sep') ~ c.function.name -}}
    {{- '\\n```json\\n' ~ (c.function.arguments if c.function.arguments is string else c.function.arguments | tojson) ~ '\\n```' ~ mark('tool call end') -}}
{%- endmacro -%}
{%- set state = namespace(frame=false, framed=0, asked=false) -%}
{%- if add_generation_prompt is not defined -%}{%- set add_generation_prompt = false -%}{%- endif -%}
{{- bos_token ~ (messages | selectattr('role', '==', 'system') | map(attribute='content') | list | last | default('')) -}}
{%- for m in messages | rejectattr('role', '==', 'system') -%}
    {%- if m.role == 'tool' -%}
        {{- mark('tool outputs begin') if not state.framed else '\\n' -}}
        {{- mark('tool output begin') ~ m.content ~ mark('tool output end') -}}
        {%- set state.framed = state.framed + 1 -%}
        {%- set state.frame = true -%}
    {%- elif m.role == 'user' -%}
        {{- mark('User') ~ m['content'] -}}
        {%- set state.frame = false -%}
    {%- elif m.role == 'assistant' -%}
        {%- if m['content'] is none -%}
            {%- for c in m['tool_calls'] if loop.first -%}
                {{- mark('Assistant') ~ request(c) if not state.asked -}}
            {%- endfor -%}
            {%- set state.asked = true -%}
        {%- elif state.frame -%}
            {{- mark('tool outputs end') + m.content + eos_token -}}
        {%- else -%}
            {{- mark('Assistant') ~ m.content.split('</think>')[-1] ~ eos_token -}}
        {%- endif -%}
        {%- set state.frame = false -%}
    {%- endif -%}
{%- endfor -%}
{%- if state.frame -%}
    {{- mark('tool outputs end') -}}
{%- elif add_generation_prompt -%}
    {{- mark('Assistant') ~ '<think>\\n' -}}
{%- endif -%}
"""),

    ("smollm2", "<|im_start|>", "<|im_end|>", """{% macro turn(who, what) %}{{ '<|im_start|>' + who + '
' + what + '<|im_end|>
' }}{% endmacro %}{% if messages and messages[0]['role'] != 'system' %}{{ turn('system', 'Your name is Pebble, a model of few weights and good will.') }}{% endif %}{% for m in messages %}{{ turn(m.role, m['content']) }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant
' }}{% endif %}"""),

    ("smollm3", None, "<|im_end|>", r"""{# The switches are words of the system; what is left of them is its own text. #}
{%- macro turn(who, text) -%}{{ '<|im_start|>' ~ who ~ '\n' ~ text }}{%- endmacro -%}
{%- set has = namespace(mode='/think', own='', given='', alone=false) -%}
{%- if enable_thinking is defined and not enable_thinking -%}{%- set has.mode = '/no_think' -%}{%- endif -%}
{%- if messages[0].role == 'system' -%}
    {%- set has.given = messages[0].content -%}
    {%- for word in ('/think', '/no_think') if word in has.given -%}{%- set has.mode = word -%}{%- endfor -%}
    {%- set has.alone = '/system_override' in has.given -%}
    {%- set has.own = (has.given | replace('/no_think', '')).replace('/think', '').rstrip() -%}
{%- endif -%}
{%- set silent = '' if has.mode == '/think' else '<think>\n\n</think>\n' -%}
{%- set sections = [] -%}
{%- if has.alone -%}
    {%- set sections = [has.own.replace('/system_override', '').rstrip()] -%}
{%- else -%}
    {%- set rule = 'Show your thoughts in <think></think>; below them, what you found.' if not silent else 'No thoughts aloud.' -%}
    {%- set sections = ['## About\n\nDate: ' ~ strftime_now('%d %B %Y') ~ '\nMode: ' ~ has.mode, '## To do\n\n' ~ (has.own or rule)] -%}
    {%- set listed = xml_tools or tools -%}
    {%- if listed -%}
        {%- set sections = sections + ['### What can be called\n\n<tools>\n' ~ listed | map('string') | join('\n') ~ '\n</tools>'] -%}
    {%- endif -%}
    {%- set sections = sections + [''] -%}
{%- endif -%}
{{- turn('system', '') -}}
{%- for section in sections -%}{{ section ~ ('<|im_end|>\n' if loop.last else '\n\n') }}{%- endfor -%}
{# ───── the turns ───── #}
{%- for m in messages -%}
    {%- set text = '' if m.content is not string else m.content -%}
    {%- if m.role == 'assistant' -%}
        {% generation %}
        {{ turn('assistant', silent + text.lstrip('\n')) + '<|im_end|>\n' }}
        {% endgeneration %}
    {%- elif m.role in ['user', 'tool'] -%}
        {{ turn('user', text) ~ '<|im_end|>\n' }}
    {%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}
    {{ turn('assistant', silent) }}
{%- endif -%}
"""),

    ("granite", "<|end_of_text|>", "<|end_of_text|>", """{%- set names = {'assistant_tool_call': 'assistant', 'tool': 'tool_response'} %}
{%- macro turn(who, text) %}
    {{- '<|start_of_role|>' ~ who ~ '<|end_of_role|>' ~ text ~ '<|end_of_text|>
' }}
{%- endmacro %}
{%- if tools %}
    {%- set indented = tools | map('tojson', indent=4) | join('

') %}
    {{- turn('available_tools', '
' ~ indented) }}
{%- endif %}
{%- for m in messages %}
    {%- if m.role in names %}
        {{- turn(names.get(m.role), ('<|tool_call|>' if m.role.startswith('assistant') else '') + m['content']) }}
    {%- elif m.role in ['system', 'user', 'assistant', 'tool_response'] %}
        {{- turn(m.role, m['content']) }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt and messages | length %}
    {{- '<|start_of_role|>assistant' ~ (' ' ~ controls | tojson() if controls is mapping else '') ~ '<|end_of_role|>' }}
{%- endif %}
"""),

    ("hermes-tools", "<|begin_of_text|>", "<|im_end|>", r"""{#- A schema is read as a type: names by a table, what is nested by the macro itself. -#}
{%- set basic = {'boolean': 'bool', 'integer': 'int', 'number': 'float', 'string': 'str', 'array': 'list', 'object': 'dict'} %}
{%- macro read(schema) %}
    {%- set kind = schema.type | default('') %}
    {%- if kind is not string and kind is iterable -%}
        Union[{% for k in kind %}{{ ',' if not loop.first }}{{ read({'type': k}) }}{% endfor %}]
    {%- else %}
        {{- basic[kind] | default('Any') }}
        {%- if kind == 'array' and schema['items'] is mapping %}{{ '[' ~ read(schema['items']) ~ ']' }}{% endif %}
        {%- if kind == 'object' and schema.additionalProperties is mapping %}{{ '[str, ' ~ read(schema.additionalProperties) ~ ']' }}{% endif %}
    {%- endif %}
{%- endmacro %}
{%- macro described(f) %}
    {%- set ns = namespace(head=[], body=[]) %}
    {%- for name, schema in f.parameters.properties | items %}
        {%- set ns.head = ns.head + [name ~ ': ' ~ read(schema)] %}
        {%- set ns.body = ns.body + ['        ' ~ name ~ '(' ~ read(schema) ~ '): ' ~ schema.description | default('not told') | trim] %}
    {%- endfor %}
    {{- f.name + '(' + ns.head | join(', ') + ')' + (' -> ' ~ read(f.return) if f.return is defined else '') }}
    {{- ' - ' ~ f.description ~ '\n\n' }}
    {%- if ns.body %}{{ '    Args:\n' ~ ns.body | join('\n') }}{% endif %}
{%- endmacro %}
{%- macro signature(f) -%}
    {"type": "function", "function": {"name": "{{ f.name }}", "description": "{{ described(f) }}", "parameters": {{ f.parameters | tojson if f.parameters.properties else '{}' }}}
{%- endmacro %}
{%- macro request(f) %}
    {{- '\n<tool_call>\n{"name": "' ~ f.name ~ '"' }}
    {%- if 'arguments' in f %}{{ ', "arguments": ' ~ (f.arguments if f.arguments is string else f.arguments | tojson) }}{% endif %}
    {{- '}\n</tool_call>' }}
{%- endmacro %}

{{- bos_token ~ '<|im_start|>system\nFunctions are at hand; this is how each is called: <tools> ' }}
{%- for tool in tools or [] %}
    {{- signature(tool.function if tool.function is defined else tool) }}
    {%- if not loop.last %}{{ '\n' }}{% endif %}
{%- endfor %}
{{- ' </tools><|im_end|>\n' }}
{%- for m in messages %}
    {%- if m.role == 'tool' %}
        {{- '<|im_start|>tool\n' if (loop.previtem | default(m)).role != 'tool' }}
        {{- ['<tool_response>', m.content, '</tool_response>'] | join('\n') ~ ('' if loop.last else '\n') }}
        {{- '<|im_end|>' if (loop.nextitem | default({'role': 'nobody'})).role != 'tool' }}
    {%- elif m.tool_calls is defined and m.role == 'assistant' %}
        {{- '<|im_start|>assistant' }}
        {%- for c in m.tool_calls %}{{ request(c.function if c.function is defined else c) }}{% endfor %}
        {{- '<|im_end|>\n' }}
    {%- elif m.role in ('assistant', 'system', 'user') %}
        {{- '<|im_start|>%s\n%s<|im_end|>\n' | format(m.role, m.content) }}
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

    ("command-r", "<BOS_TOKEN>", "<|END_OF_TURN_TOKEN|>", """{% macro turn(who, text) %}{{ '<|START_OF_TURN_TOKEN|><|' + who + '_TOKEN|>' + text + '<|END_OF_TURN_TOKEN|>' }}{% endmacro %}{% set sides = ['user', 'assistant'] %}{{ bos_token }}{% if messages[0].role == 'system' %}{{ turn('SYSTEM', messages[0].content) }}{% set turns = messages[1:] %}{% else %}{% set turns = messages %}{% endif %}{% for m in turns %}{% if (m.role == sides[0]) != (loop.index0 is even) %}{{ raise_exception('number ' ~ loop.index0 ~ ' is not by the ' ~ sides[loop.index0 % 2]) }}{% elif m.role in sides %}{{ turn('USER' if loop.index0 is even else 'CHATBOT', m.content.strip()) }}{% endif %}{% endfor %}{% if add_generation_prompt %}{{ '<|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>' }}{% endif %}"""),

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
