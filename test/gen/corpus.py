"""A small multilingual text and the strings of the tokenizer fixtures, all our own and the same on every run."""
import random

PLAIN = """The little boat crossed the lake before the sun came up. Nobody had asked it to, but it's what boats do.
I don't think we'll need more than three; she'd said they're fine, and I'm sure you've heard that he isn't coming.
When the rain stopped, the children ran out of the house and into the garden, where the old dog was waiting for them.
A model reads a token, looks back at the tokens before it, and says how likely each next token would be.
"What do you want?" asked the miller. "Flour," said the fox, "and a quiet place to think about the river."
Every morning the baker counts the loaves: 12 of rye, 24 of wheat, 7 with seeds, and 1 for the bird on the roof.
In 1847 the bridge was 318 metres long; in 2023 it measured 320.5 metres, which is 0.8% more than anyone expected.
The teacher wrote 17 + 25 = 42 on the board, then 100 - 58 = 42, and then 6 * 7 = 42, and everyone laughed.
There is a road that goes up and a road that goes down, and they are the same road, depending on where you stand.
We were walking through the forest, talking about the weather, thinking about nothing, and singing the whole time.
""".splitlines()

WORLD = """Das kleine Boot fuhr früh über den See, und die Möwen schrien laut; außer ihnen war niemand zu hören.
Le garçon a mangé une pêche près de la forêt, où l'été s'achève déjà et où les élèves rêvent.
El niño pequeño corrió detrás del perro mientras la señora cantaba una canción sobre el otoño.
Маленькая лодка плыла по озеру, а дети смотрели на неё с берега и махали руками.
Η μικρή βάρκα πέρασε τη λίμνη πριν βγει ο ήλιος, και κανείς δεν την είδε.
小船在日出之前穿过了湖面，没有人看见它。孩子们在花园里玩，老狗在门口等着。
小さな船は日の出の前に湖を渡りました。子供たちは庭で遊んでいます。カタカナも少し。
작은 배가 해가 뜨기 전에 호수를 건넜습니다. 아이들은 정원에서 놀고 있어요.
القارب الصغير عبر البحيرة قبل شروق الشمس، ولم يره أحد من الأطفال.
הסירה הקטנה חצתה את האגם לפני הזריחה, ואיש לא ראה אותה.
छोटी नाव सूरज निकलने से पहले झील के पार चली गई।
เรือลำเล็กข้ามทะเลสาบก่อนพระอาทิตย์ขึ้น
ទូកតូចឆ្លងកាត់បឹងមុនថ្ងៃរះ
Chiếc thuyền nhỏ băng qua hồ trước khi mặt trời mọc.
""".splitlines()

CODE = '''int main(int argc, char **argv) {
    for (int i = 0; i < argc; i++) {
        printf("%d: %s\\n", i, argv[i]);
    }
    return 0;
}

def softmax(x, axis=-1):
    """Numerically stable."""
    e = np.exp(x - x.max(axis=axis, keepdims=True))
    return e / e.sum(axis=axis, keepdims=True)

\tif (x >= 0x1F && y != NULL) { x += y->next[3]; }  // tabs	and	more tabs
{"name": "boat", "size": [3, 14, 159], "nested": {"ok": true, "none": null}}
<a href="https://example.org/path?q=1&r=two#top">link</a>
'''.splitlines()


def training_lines():
    """About 31 KB: every sentence once, then sentences made of parts, so that merges have something to learn."""
    r = random.Random(5)
    who = ["The fox", "A child", "The miller", "My sister", "The old dog", "Nobody", "The teacher", "Her brother",
           "The baker"]
    does = ["carries", "finds", "counts", "forgets", "remembers", "paints", "is looking for", "doesn't want",
            "would like"]
    what = ["the boat", "three apples", "a small stone", "the letter", "12 loaves", "a quiet place", "the river",
            "something new"]
    where = ["near the bridge", "in the garden", "behind the house", "at night", "before breakfast", "on the roof",
             "every day"]
    lines = PLAIN + WORLD + CODE
    for _ in range(420):
        a, b = r.randint(0, 999), r.randint(0, 999)
        line = f"{r.choice(who)} {r.choice(does)} {r.choice(what)} {r.choice(where)}."
        kind = r.random()
        if kind < 0.2:
            line += f" {a} + {b} = {a + b}."
        elif kind < 0.35:
            line = f"    x[{a % 10}] = f(y, {b});  // " + line.lower()
        elif kind < 0.5:
            line = r.choice(WORLD)
        elif kind < 0.6:
            line = f'"{line}" they\'ve said; we\'re not sure it\'ll be so.'
        lines = lines + [line]
    return lines


def cases():
    """Texts of one kind each, then all of the sentences, then random strings put together from awkward pieces."""
    c = ["", " ", "  ", "   ", "\n", "\n\n", "\n\n\n", "\t", "\t\t", "\r", "\r\n", "\r\n\r\n", " \n", "\n ", " \n ",
         "\t\n", "\n\t", " \t ", "a",
         " a", "  a", "   a", "a ", "a  ", " a b ", "a\nb", "a\n\nb", "a \n b", "a\r\nb", "a\r\n\r\n  b", "\ta\tb\t",
         "    indented", "x =  1", "end.  \n",
         "Hello, world!", "Hello world", " Hello", "HELLO", "hello hello  hello   hello", "the theme there then them",
         "boat boats boating"]
    # contractions, both cases, and apostrophes that are none
    c += ["I'm you're he's we'll they'd I've isn't", "I'M YOU'RE HE'S WE'LL THEY'D I'VE ISN'T",
          "don't DON'T Don't dOn'T", "'s 't 're 've 'm 'll 'd",
          "'S 'T 'RE 'VE 'M 'LL 'D", "'Re 'vE 'lL", "it''s", "'sister 'tree 'red", "rock'n'roll", "'", "''", "' s",
          "l'été d'où", "it’s don’t", "x's'y"]
    # numbers
    c += ["1", "12", "123", "1234", "12345", "123456", "1234567", "12345678901234567890", " 1", "  42", "3.14159",
          "1,000,000", "0x1F", "1e-5", "-17", "+3",
          "a1b22c333", "2023-04-05T06:07:08Z", "7th 21st", "17+25=42", "17 + 25 = 42", "x1 y2", "½ ¼ ¾", "x² y³",
          "Ⅳ Ⅻ", "①②③", "٠١٢٣٤", "१२३४५", "１２３",
          "一二三", "10000000000", "00", "1 2 3  4   5", "50%", "$5.99", "#42", "A4", "4A"]
    # punctuation and code
    c += ["...", "!!!", "?!", "a.b.c", "a,b;c:d", "(a) [b] {c} <d>", "--flag=value", "a->b", "a && b || !c", "i++;",
          "\"quoted\"", "`x`", "~/.config", "C:\\dir\\file",
          "https://example.org/?a=1&b=2", "me@example.org", "a_b_c", "snake_case camelCase PascalCase",
          "// comment\n", "/* c */", "x=1\n\ty=2\n\t\tz=3\n", "def f(x):\n    return x\n",
          "if (a) {\n\tb();\n}\n", "{\"k\": [1, 2, {\"n\": null}]}", "<a href=\"#\">b</a>", "a\\n", "%d %s\n",
          "=====", "-----\n", "*** ***", ":-)", "§ † ‡ • …", "–—―", "«ok»", "“ok”", "© ® ™", "€ £ ¥"]
    # scripts, combining marks, direction marks
    c += ["café", "cafe\u0301", "naïve façade", "Straße GROẞ", "İstanbul ıssız", "Ångström", "A\u030angstro\u0308m",
          "ﬁ ﬂ", "ǆ ǅ Ǆ", "ſ", "ª º", "æ œ ø ð þ", "Žluťoučký kůň", "Chiếc thuyền", "тест ТЕСТ ёлка",
          "и\u0306 й", "αβγ ΑΒΓ ς", "ά α\u0301", "שלום", "שָׁלוֹם", "مرحبا", "مَرْحَبًا", "السلام عليكم ١٢٣",
          "नमस्ते", "हिन्दी क्ष त्र", "বাংলা", "தமிழ்", "తెలుగు", "ไทยไม่มีช่องว่าง", "ภาษา", "ភាសាខ្មែរ",
          "ទូក តូច", "မြန်မာ",
          "ລາວ", "བོད་", "გამარჯობა", "Հայերեն", "አማርኛ", "你好", "你好，世界！", "小船 小船", "小 船", "日本語テスト", "ひらがなカタカナ",
          "ｶﾀｶﾅ", "が か\u3099", "한국어", "각 \u1100\u1161\u11a8", "中文English混合123",
          "“中文”", "（全角）", "𠀀𠀁", "𝐀𝐁𝐂", "𐍈", "ᏣᎳᎩ", "ᚠᚢ", "a\u200db", "a\u200bb", "a\u200c", "\u200ea\u200f",
          "\ufeffbom", "a\u0300\u0301\u0302b", "\u0301", " \u0301", "\u0915\u094d\u200d\u0937"]
    # spaces of every kind
    c += ["a\u00a0b", "\u00a0", "\u00a0\u00a0a", " \u00a0 a", "a\u2028b", "a\u2029b", "a\u0085b", "a\u3000b",
          "\u3000\u3000a", "a\u2003b", "a\u2009b", "a\u202fb", "a\u1680b", "a\u000bb", "a\u000cb", "a\u001cb",
          "a\u001fb", "a\u200bb c",
          "a \u00a0b", "a\u00a0 b", "a  \u3000 b", "1\u00a0000", "a\u2028\u2028", "\u2029a", " \u2028 ", "a\u205fb",
          "\u180eb"]
    # emoji
    c += ["🙂", "🙂🙂", " 🙂", "a🙂b", "👍🏽", "👩‍💻", "👨‍👩‍👧‍👦", "🏳️‍🌈", "❤️", "❤", "1️⃣", "🇩🇪🇫🇷", "🤷🏾‍♀️ ok", "☃ ☂", "✓✗",
          "→←↑↓", "∑∫∂√∞", "♪♫", "🂡", "𝄞"]
    # spellings of special tokens, which plain text must never turn into the token
    c += ["<|endoftext|>", "a<|endoftext|>b", " <|endoftext|> ", "<|im_start|>user\nhi<|im_end|>\n", "<|pad|>",
          "<|reward|>", "<|endoftext", "|endoftext|>", "<|im_start|><|im_end|>", "<s>", "</s>", "<unk>",
          "a<s>b</s>c", "<0x41>", "<|begin_of_text|>",
          "<|start_header_id|>user<|end_header_id|>\n\nhi<|eot_id|>", "<|im_start|> <|im_start|>", "<|IM_START|>"]
    # control characters, long runs
    c += ["\u0001\u0002", "a\u007fb", "\u0080\u009f", "\u001b[31mred\u001b[0m", "\uffff", "\ue000", "\U0010ffff",
          "\ufffd", "a" * 40, "ab" * 30, " " * 20 + "x", "x" + " " * 33, "\n" * 12, "\t" * 9 + "y", "é" * 12,
          "🙂" * 9, "!" * 17, "9" * 31, "- " * 9, "the " * 9,
          "▁", "▁a", "a▁b", " ▁ ", "Ġ", "Ġthe", "Ċ", "ĉĠ"]
    c += PLAIN + WORLD + CODE[:8]
    r = random.Random(99)
    bits = [" ", "  ", "\n", "\r\n", "\t", "the", "The", " boat", "'s", "'LL", "n't", "1", "42", "789", "1234", "é",
            "e\u0301", "ß", "Я", "ё", "中", "文字", "の", "한", "ع", "ק", "ไ", "ខ្", "न", "🙂", "👩‍💻", "️", "\u200d",
            "\u00a0", "\u2028", "\u3000",
            ".", ",", "!", "?", "...", "(", ")", "\"", "'", "-", "_", "/", "\\", "=", "+", "<", ">", "|", "<|",
            "|>", "#", "$", "%", "½", "²", "٣", "x", "Q", "ing", "ed", " a", " I", "   ", "\n\n"]
    c += ["".join(r.choice(bits) for _ in range(r.randint(3, 14))) for _ in range(60)]
    seen, unique = set(), []
    for text in c:
        if text not in seen:
            seen.add(text)
            unique.append(text)
    return unique
