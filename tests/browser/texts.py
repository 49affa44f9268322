"""Texts such as small models write, to vote on and to look at: plain, long, odd, empty."""

import json
import math
import random
from functools import cache

from app.config import DATA

LONG = ("Cheese ripens from the rind inward, and nobody has ever hurried it without paying for it. " * 2100)[:188_880]
"""One line of 188,880 characters: a model that did not find its end."""

KEYS = (
    "You look for your keys on a crowded desk, and for ten seconds you see everything except the desk. What does this "
    "show about perception?"
)
COUNT = (
    "Write a Python function that takes a text and returns the three most frequent words with their counts. Ignore "
    "case and punctuation, and break ties alphabetically."
)

CODE = """Use `Counter`, and sort by the count first and by the word second:

```python
import re
from collections import Counter

def most_frequent(text: str, how_many: int = 3) -> list[tuple[str, int]]:
    words = re.findall(r"[a-z']+", text.lower())
    return sorted(Counter(words).items(), key=lambda item: (-item[1], item[0]))[:how_many]
```

- `re.findall` drops the punctuation.
- The minus sign sorts counts from high to low, while words stay in alphabetical order.

| word | count |
| --- | ---: |
| the | 3 |
| cat | 2 |
"""

PLAIN = (
    "You can do this by splitting the text into words and counting each of them in a dictionary. Then you sort the "
    "dictionary by its values and return the first three. Remember to make everything lower case before you count."
)

HEBREW = "הגבינה מבשילה מן הקליפה פנימה, ואיש לא זירז אותה בלי לשלם על כך.\n\nזה דורש סבלנות."
ARABIC = "ينضج الجبن من القشرة نحو الداخل، ولم يستعجله أحد قط دون أن يدفع ثمن ذلك.\n\nالأمر يحتاج إلى صبر."  # noqa: RUF001

HOSTILE = """<script>alert("A")</script> <button>A is better</button>

Turned: \u202ereteb si B\u202c, and an end\u2066less isolate. A bell\x07, and Z\u030d\u0360\u0312a\u0301\u0300lgo.

| a table | that is | wider than | its column | because | it has | more columns | than anybody | would read |
| --- | --- | --- | --- | --- | --- | --- | --- | --- |
| internationalisation | internationalisation | internationalisation | 4 | 5 | 6 | 7 | 8 | 9 |

    a_line_of_code_that_goes_on = "and on, and on, and on, and on, and on, and on, and on, and on, and on, and on"
"""
MIXED = "日本語と中文、한국어. 👩\u200d🚀 🏳️\u200d🌈 שלום world, مرحبا! " + "終わりのない行" * 40

SEEING = """It shows that seeing is already a kind of looking *for*. A camera on your desk would record the mug, \
the bills and the grain of the wood. You, for ten seconds, record their failure to be keys.

Phenomenologists like this example because the missing thing does the work. The keys are nowhere in the picture, and \
still they decide what everything else in the picture is: an obstacle, a hiding place, a false alarm. When they turn \
up under the newspaper, the desk comes back all at once, and you notice that the mug is half full.

So perception is less like a window than like a question that the world answers. Change the question and you will \
see another desk."""

LIST = """This is a very interesting question about perception. Here are some things that it shows:

1. **Attention is limited.** We can only focus on one thing at a time.
2. **Perception is active.** We do not just receive information, we look for it.
3. **Expectation matters.** What we expect to see changes what we see.

In conclusion, looking for your keys shows that perception is limited, active and shaped by what we expect. I hope \
this helps! Let me know if you have any other questions."""


@cache
def trained() -> tuple[str, ...]:
    """Responses from the shipped conversations: what an adapter that learned them writes."""
    lines = (DATA / "sft/brie.train.jsonl").read_text(encoding="utf-8").splitlines()
    return tuple(json.loads(line)["messages"][-1]["content"] for line in lines[:57])


def untrained(index: int) -> str:
    """Text ``index`` of a small base model that was told to be helpful."""
    opening = ("That is a great question!", "There are many ways to think about this.", "Here are some ideas.")
    body = (
        "It is important to remember that every situation is different, and that there is no single right way.",
        "First, consider what you already know. Second, think about what you would like to find out.",
        "Many philosophers have written about this topic, and their views differ in a number of important respects.",
        "One way to approach it is to make a list of the advantages and the disadvantages and to compare them.",
    )
    chosen = [body[(index + turn) % len(body)] for turn in range(1 + index % 4)]
    return f"{opening[index % 3]} {' '.join(chosen)}\n\nI hope this helps (point {index + 1})."


def noisy(count: int, start: float, end: float, seed: int) -> list[float]:
    """Training losses that go from ``start`` towards ``end`` the way they do: fast, then slowly, and never smoothly."""
    rng = random.Random(seed)  # noqa: S311 - the same picture every time
    return [end + (start - end) * math.exp(-4 * step / count) + rng.gauss(0, 0.12) for step in range(count)]


def reply(number: int, baseline: bool) -> str:
    return untrained(number) if baseline else trained()[number % 57]
