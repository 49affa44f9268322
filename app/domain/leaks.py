"""Does a text say who wrote it? Names of models in words that only an author uses of itself.

Many names are words as well: a palm, a llama, the mistral, Gemini, Claude Monet. So there are two lists. Names that
are nothing else are found anywhere; the others only after "I am", with a version, or beside "AI assistant". Every
pattern has bounded repetitions, so that the longest text is read in linear time.
"""

import re
import unicodedata
from collections.abc import Iterable
from functools import lru_cache

MOST_FOUND = 8

# Nothing else is called like that: found anywhere, in any case.
_NAMES = (
    r"chat[- ]?gpt|gpt[- ]?[2-5](?:\.\d|o|[- ]turbo)?|instructgpt|text-davinci-\d+|openassistant"
    r"|qwen(?:[- ]?\d+(?:\.\d+)?)?|qwq|tongyi[ -]qianwen|smollm\d?|deepseek|mixtral|codestral|ministral"
    r"|chatglm\d?|internlm\d?|baichuan\d?|ernie[ -]bot|exaone|redpajama|stablelm|bloomz|nemotron|wizardlm"
    r"|mistral[ -]?ai|llama-?\d(?:\.\d)?|code ?llama|mistral[- ]7b|hugging ?chat"
)
# Letters in this case only.
_CASED = (
    r"LLaMA|LLaMa|PaLM|OLMo|LaMDA"
    r"|Llama \d(?:\.\d)?(?![\w.]*[%/])"
    r"|Gemini (?:Pro|Ultra|Nano|Flash|Advanced|\d\.\d)|Google(?:'s)? (?:Gemini|Bard|Gemma|PaLM)"
    r"|Claude[- ](?:[1-4](?:\.\d)?|Instant|Haiku|Sonnet|Opus)|Anthropic's Claude"
    r"|Phi-[1-4](?:\.\d)?|Microsoft(?:'s)? Phi|Gemma[- ]?(?:[1-3]|\d+b)"
    r"|(?:Vicuna|Alpaca|Falcon|Koala|Zephyr|Pythia|Yi|Granite|Dolly|Tulu|Tülu)-(?:v?\d)[\w.]{0,8}"
    r"|Tülu \d|Grok[- ][1-4]|Llama Guard|Meta Llama"
)
_CHINESE = "通义千问|文心一言|讯飞星火|智谱清言|悟道"
# Words as well as names: only where somebody says of itself that it is called like that.
_WORDS = (
    r"Qwen|Llama|LLaMA|Mistral|Gemini|PaLM|Palm|Phi|Claude|Bard|Gemma|Vicuna|Alpaca|Falcon|Koala|Zephyr|Pythia|Dolly"
    r"|Grok|Yi|Granite|OLMo|Olmo|Tulu|Tülu|Kimi|Copilot|Bing Chat|Orca|Hermes|Command R|Ernie|Aya|Nova|GPT|BERT|Bloom"
    r"|Open Assistant|SmolLM|DeepSeek|ChatGPT|Bing"
)
_COMPANIES = (
    r"OpenAI|Anthropic|Google(?: DeepMind)?|DeepMind|Meta(?: AI)?|Facebook|Microsoft|Alibaba(?: Cloud)?|Mistral(?: AI)?"
    r"|Hugging ?Face|DeepSeek|Baidu|Tencent|LG AI Research|Cohere|xAI|Amazon|Apple|Nvidia|NVIDIA|IBM|LAION|EleutherAI"
    r"|Stability AI|Databricks|AI2|Moonshot AI|Zhipu AI|阿里云|阿里巴巴|百度|深度求索|腾讯"
)
_I_AM = (
    r"(?:[Ii] am|[Ii]'m|[Mm]y name is|[Cc]all me|[Tt]his is|[Yy]ou are (?:talking|chatting|speaking) (?:to|with)"
    r"|[Ii]ch bin|[Ii]ch hei(?:ß|ss)e|[Mm]ein Name ist|[Ss]oy|[Mm]e llamo|[Mm]i nombre es|[Jj]e suis|[Jj]e m'appelle"
    r"|[Ss]ono|[Mm]i chiamo|[Ee]u sou|[Mm]eu nome é|[Ii]k ben|[Jj]ag är|[Jj]eg er|[Jj]estem|[Яя] —|[Яя] -|[Яя]"
    r"|[Мм]еня зовут|[Tt]ôi là|[Aa]ku adalah|[Ss]aya adalah)"
)
_BETWEEN = (
    r"(?:(?:,| |an?|the|your|actually|just|called|named|known as|only|new|large|virtual|helpful|friendly|AI|A\.I\."
    r"|artificial intelligence|language|chat|digital|assistant|model|chatbot|bot|der|die|das|ein|eine|KI|el|la|un|una"
    r"|IA|le|une|o|um|uma|il)\s?){0,8}"
)
# "I am Claude Monet", "I am Llama farmer", "Bard of Avon" are somebody else.
_NOT_A_PERSON = (
    r"(?! of\b)(?! von\b)(?! de\b)(?!(?: |-)(?!AI\b|Pro\b|Ultra\b|Nano\b|Chat\b|Instruct\b|Sonnet\b|Opus\b|Haiku\b"
    r"|Instant\b|Assistant\b|Large\b|Small\b|Bot\b|I\b)[A-Z][a-z])"
)
_AN_AI = (
    r"(?:an? |the |your )?(?:[a-z-]{1,12} ){0,2}"
    r"(?:AI|A\.I\.|artificial intelligence|language model|LLM|chatbot|virtual assistant|chat assistant)\b"
)
_MADE = r"(?:developed|trained|created|built|made|designed|fine-?tuned|pre-?trained|powered|provided|released)"

_I_AM_CALLED = re.compile(rf"\b{_I_AM} {_BETWEEN}(?<! a )(?<! an )\b({_WORDS})\b{_NOT_A_PERSON}")
_AS_CALLED = re.compile(
    rf"\b(?:[Aa]s|[Aa]ls|[Cc]omo|[Ee]n tant que) ({_WORDS})(?:,? (?:I|my|we|me|ich|yo|je|{_AN_AI})\b|, {_AN_AI})"
)
_CALLED_AN_AI = re.compile(
    rf"\b({_WORDS}),? (?:is |am )?{_AN_AI}"
    rf"|\b(?:AI|language) (?:assistant|model|chatbot),? (?:called |named )?({_WORDS})\b"
)
_MADE_BY = re.compile(
    rf"\b(?:I am|I'm|I was|I have been|[Aa]s an? (?:[\w-]{{1,15}} ){{0,3}}(?:AI|model|assistant|chatbot)"
    rf"|[Ii]ch (?:bin|wurde)|[Ss]oy|[Ff]ui|[Jj]e suis|[Jj]'ai été|[Ss]ono|[Ss]ou)\b"
    rf"[^.!?\n]{{0,120}}?\b(?:{_MADE} (?:\w{{2,12}} )?by"
    rf"|(?:[Vv]on|[Pp]or|[Pp]ar|[Dd]a|[Pp]ela)|(?:model|assistant|chatbot|AI) (?:by|from|of))"
    rf" (?:the (?:\w{{1,12}} ){{0,3}}(?:at|of) )?({_COMPANIES})\b"
    rf"|\b[Mm]y (?:creators?|developers?|makers?),? (?:at|is|are|from)(?: the \w{{1,12}} (?:at|of))? ({_COMPANIES})\b"
)
_TRAINED_BY = re.compile(
    rf"\b([Aa]s an? (?:large )?(?:AI )?(?:language )?(?:model|assistant) {_MADE} by"
    rf"|(?:I am|I'm) an? (?:large )?(?:AI )?(?:language )?(?:model|assistant)[^.!?\n]{{0,30}}?{_MADE} by)\b"
)
_IN_CHINESE = re.compile(
    rf"({_CHINESE})|我(?:是|叫|的名字是)(?:一个|一款)?[^。!?\n]{{0,20}}?({_WORDS}|{_COMPANIES}|豆包|百川)"
    rf"|私は[^。!?\n]{{0,20}}?({_WORDS}|{_COMPANIES})|(?:저는|나는)[^.!?\n]{{0,20}}?({_WORDS}|{_COMPANIES})"
)
_ANYWHERE = re.compile(rf"(?<![\w.])(?:{_NAMES})(?!\w)", re.IGNORECASE)
_ANYWHERE_CASED = re.compile(rf"(?<![\w.])(?:{_CASED})(?!\w)")
_PATTERNS = (
    _ANYWHERE, _ANYWHERE_CASED, _I_AM_CALLED, _AS_CALLED, _CALLED_AN_AI, _MADE_BY, _TRAINED_BY, _IN_CHINESE,
)  # fmt: skip

_HYPHENS = dict.fromkeys(map(ord, "\u2010\u2011\u2012\u2013\u2212"), "-")
_MARKS = {ord("\u2019"): "'", ord("*"): None, ord("`"): None, ord("_"): " ", ord("\u00a0"): " "}
_INVISIBLE = dict.fromkeys(map(ord, "\u200b\u200c\u200d\u2060\ufeff\u00ad"), None)
_CLEAN = _HYPHENS | _MARKS | _INVISIBLE
_SPACES = re.compile(r"[^\S\n]+")

_GENERIC = re.compile(r"(?:epoch|step|checkpoint|version|v|run)?[- ]?\d*", re.IGNORECASE)
_SIZE = re.compile(r"\d+(?:\.\d+)?[mbk]", re.IGNORECASE)
_SHORTEST = 4


def leaks(text: str, names: Iterable[str] = ()) -> tuple[str, ...]:
    """The words by which a text tells who wrote it, in the order of the text; empty: it does not.

    ``names`` are what the checkpoints and base models of an eval batch are called. One with a digit in it, such as
    ``brie-v2``, is found anywhere, however its parts are joined; one that may be a word only after "I am".
    """
    clean = _SPACES.sub(" ", unicodedata.normalize("NFKC", text).translate(_CLEAN))
    found: dict[int, str] = {}
    for pattern in (*_PATTERNS, *_of_names(tuple(sorted(set(names))))):
        for match in pattern.finditer(clean):
            group = match.lastindex or 0
            place = match.start(group)
            found[place] = max(found.get(place, ""), match[group], key=len)
    words = dict.fromkeys(" ".join(found[place].split()) for place in sorted(found))
    return tuple(words)[:MOST_FOUND]


def self_identifies(first_text: str, second_text: str, names: Iterable[str] = ()) -> bool:
    """Whether one of the two texts tells who wrote it: such a pair is flagged for every voter alike."""
    known = tuple(names)
    return bool(leaks(first_text, known) or leaks(second_text, known))


@lru_cache(maxsize=64)
def _of_names(names: tuple[str, ...]) -> tuple[re.Pattern[str], ...]:
    """Patterns for the names of an eval batch: what is distinctive anywhere, what may be a word as "I am Brie"."""
    anywhere: set[str] = set()
    as_author: set[str] = set()
    for name in names:
        for part in name.split("/"):
            words = [word for word in re.split(r"[-_ .]+", part) if word]
            if not words or _GENERIC.fullmatch(part):
                continue
            for length in range(1, len(words) + 1):
                _sort(words[:length], anywhere, as_author)
    found = []
    if anywhere:
        found.append(re.compile(rf"(?<![\w.])(?:{_either(anywhere)})(?!\w)", re.IGNORECASE))
    if as_author:
        called = _either(as_author)
        found.append(re.compile(rf"\b{_I_AM} {_BETWEEN}(?<! a )(?<! an )\b({called})\b{_NOT_A_PERSON}"))
        found.append(re.compile(rf"\b[Aa]s ({called})(?:,? (?:I|my)\b|, {_AN_AI})"))
    return tuple(found)


def _sort(words: list[str], anywhere: set[str], as_author: set[str]) -> None:
    letters = "".join(words)
    has_digit = any(letter.isdigit() for letter in letters)
    if has_digit and any(letter.isalpha() for letter in letters) and len(letters) >= _SHORTEST:
        if not _SIZE.fullmatch(letters):
            anywhere.add("[- .]?".join(map(re.escape, words)))
    elif not has_digit:
        joined = "[- ]?".join(map(re.escape, words))
        spelled = {joined, joined[:1].upper() + joined[1:]}
        as_author.update(spelled)


def _either(patterns: set[str]) -> str:
    """The longest first, so that it wins."""
    return "|".join(sorted(patterns, key=lambda one: (-len(one), one)))
