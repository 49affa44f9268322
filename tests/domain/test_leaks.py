# ruff: noqa: RUF001 - texts in many scripts
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.leaks import MOST_FOUND, leaks, self_identifies

NAMES = ("tiny", "brie-v2/epoch-2", "SmolLM2-135M", "sample/epoch-1", "Qwen/Qwen2.5-0.5B-Instruct")

TOLD = {
    "As Qwen, I cannot do that.": "Qwen",
    "I am Qwen, created by Alibaba Cloud.": "Qwen",
    "I am Claude.": "Claude",
    "I'm Claude, made by Anthropic to help you.": "Claude",
    "I’m **Claude**, an AI assistant.": "Claude",
    "Hello! I am an AI assistant called Claude.": "Claude",
    "As Claude, I try to be helpful.": "Claude",
    "I am Claude 3 Opus.": "Claude 3",
    "My name is Bard.": "Bard",
    "As Bard, an AI language model, I like poems.": "Bard",
    "You are talking to Gemini.": "Gemini",
    "I am Gemini, a large language model.": "Gemini",
    "Gemini Pro would say the same.": "Gemini Pro",
    "Gemini, an AI assistant, answered.": "Gemini",
    "I am a language model trained by Google.": "Google",
    "As an AI language model trained by OpenAI, I have no body.": "OpenAI",
    "as an AI developed by OpenAI, I don't tell stories": "OpenAI",
    "As an AI language model trained by a team in Paris, I cannot know.": "As an AI language model trained by",
    "I was developed by Anthropic.": "Anthropic",
    "I have been trained by researchers, and I was created by the team at Hugging Face.": "Hugging Face",
    "My creators at Meta taught me that.": "Meta",
    "I'm an AI model by Microsoft.": "Microsoft",
    "ChatGPT here, how can I help?": "ChatGPT",
    "chat-gpt says hello": "chat-gpt",
    "Ｃｈａｔ\u200bＧＰＴ": "ChatGPT",
    "I run on GPT-4.": "GPT-4",
    "I run on GPT\u20113.5.": "GPT-3.5",
    "This is the LLaMA that you asked for.": "LLaMA",
    "Call me Llama.": "Llama",
    "Llama 2 is what I am.": "Llama 2",
    "I'm Llama, a chatbot.": "Llama",
    "I am Mistral.": "Mistral",
    "Mistral 7B and Mixtral answer alike.": "Mistral 7B",
    "I come from Mistral AI.": "Mistral AI",
    "PaLM 2 wrote this.": "PaLM",
    "I am Phi, a small model.": "Phi",
    "This was written by Phi-3.": "Phi-3",
    "I am SmolLM, a small language model.": "SmolLM",
    "smollm2 speaking": "smollm2",
    "DeepSeek thinks.": "DeepSeek",
    "I am Kimi.": "Kimi",
    "Gemma-2 wrote this.": "Gemma-2",
    "Vicuna-13b wrote this.": "Vicuna-13b",
    "Ich bin Qwen.": "Qwen",
    "Ich bin ein Sprachmodell von OpenAI.": "OpenAI",
    "Soy Gemini, un modelo de lenguaje.": "Gemini",
    "Me llamo Claude.": "Claude",
    "Je suis Claude.": "Claude",
    "Je m'appelle Mistral.": "Mistral",
    "Sono Gemini.": "Gemini",
    "Eu sou Llama.": "Llama",
    "Меня зовут Claude.": "Claude",
    "我是通义千问。": "通义千问",
    "我是ChatGPT，很高兴认识你。": "ChatGPT",
    "我是由阿里云开发的语言模型。": "阿里云",
    "我是百度的文心一言。": "百度",
    "私はClaudeです。": "Claude",
    "저는 Gemini입니다.": "Gemini",
    "I am brie v2.": "brie v2",
    "BRIE_V2 was trained on conversations.": "BRIE V2",
    "As Brie, I think that shame needs a look.": "Brie",
    "I am Tiny.": "Tiny",
    "SmolLM2 135M at your service": "SmolLM2 135M",
}

NOT_TOLD = (
    "A palm tree stands at the shore.",
    "Palm oil is a fat; in the palm of your hand.",
    "As palm trees grow, they lean.",
    "I saw a llama in the Andes.",
    "Llamas and alpacas are kept for their wool.",
    "The llama 2 metres away looked at me.",
    "The mistral wind blows for days.",
    "Mistral is a wind of Provence. The Mistral is cold.",
    "Gemini is a constellation of the zodiac.",
    "I am a Gemini, so I change my mind.",
    "The Gemini 4 mission flew in 1965.",
    "As Gemini rises in the east, look up.",
    "phi is about 1.618; Phi, the golden ratio.",
    "Let phi-3 be the third angle.",
    "Claude Monet painted water lilies.",
    "I am Claude Monet, and this is my garden.",
    "My name is Claude Debussy.",
    "As Claude Lorrain showed, light is a subject.",
    "Claude said that he was tired.",
    "The Bard of Avon wrote sonnets.",
    "I am the Bard of Avon.",
    "As the bard sang, we wept.",
    "A falcon and a koala met an orca.",
    "Zephyr and Nova are names of winds and stars.",
    "A granite floor, a command, a bloom.",
    "Google developed Android.",
    "Go is a language that was developed by Google.",
    "I use Google every day. I was at Microsoft.",
    "The meta level and an apple a day.",
    "Amazon is a river and a shop.",
    "A hugging face among hugging faces.",
    "As an AI language model, I have no opinions.",
    "I am a large language model and I do not eat.",
    "As an AI, I cannot taste brie.",
    "I am trained as a baker.",
    "Brie is a soft cheese; v2 of the recipe uses salt.",
    "In epoch 2 of the age, after 135M years, a sample was tiny.",
    "I am tired of tiny rooms.",
    "Er ist Claude. Das ist von Google.",
    "我是一个学生。我喜欢百度百科。",
    "私は学生です。",
    "GPT is a partition table.",
    "x = qwe + rty",
    "",
)


@pytest.mark.parametrize(("text", "word"), TOLD.items())
def test_a_text_that_tells_who_wrote_it(text: str, word: str) -> None:
    assert word in leaks(text, NAMES)
    assert word in leaks(f"Of course.\n\n{text} Is there more?", NAMES)


@pytest.mark.parametrize("text", NOT_TOLD)
def test_a_text_that_does_not(text: str) -> None:
    assert leaks(text, NAMES) == ()


@pytest.mark.parametrize("text", ["I am brie v2.", "As Brie, I think so.", "I am Tiny."])
def test_names_of_the_batch_are_only_looked_for_in_their_batch(text: str) -> None:
    assert leaks(text) == ()


def test_one_text_flags_the_pair_on_either_side() -> None:
    told, plain = "I am Claude.", "I would rather not say."
    assert self_identifies(told, plain)
    assert self_identifies(plain, told)
    assert self_identifies(told, told)
    assert not self_identifies(plain, plain)
    assert self_identifies("I am brie v2.", plain, iter(NAMES))


def test_what_is_found_is_listed_once_in_the_order_of_the_text_and_not_without_end() -> None:
    assert leaks("I am Claude, not ChatGPT. ChatGPT is another; I am Claude.") == ("Claude", "ChatGPT")
    assert len(leaks(" ".join(f"GPT-{n}.{m}" for n in (2, 3, 4, 5) for m in range(9)))) == MOST_FOUND


@given(st.text(max_size=400), st.lists(st.text(max_size=12), max_size=4))
def test_any_text_and_any_names_can_be_looked_at(text: str, names: list[str]) -> None:
    found = leaks(text, names)
    assert leaks(text, names[::-1]) == found
    assert all(found)
    assert "Claude" in leaks(f"I am Claude.\n\n{text}", names)[:1]


HOSTILE = (
    "I am ", "I am AI, AI ", "As an AI model ", "I was developed ", "the AI assistant, ", "Claude ", "我是", "a", "-",
    " ", "\n", "1.1", "an a ", "my creators the ", "I am an AI model made by the the ",
)  # fmt: skip


@pytest.mark.parametrize("unit", HOSTILE)
def test_the_longest_text_is_read_in_steps_that_grow_with_it(unit: str) -> None:
    """A pattern that backtracks without bound would not come back from a text of this length."""
    text = unit * (188_880 // len(unit))
    assert leaks(f"{text} I am ChatGPT.", NAMES)[-1:] == ("ChatGPT",)


def test_of_the_shipped_conversations_none_tells() -> None:
    rows = Path("data/sft/brie.train.jsonl").read_text(encoding="utf-8").splitlines()
    told = [found for row in rows for turn in json.loads(row)["messages"] if (found := leaks(turn["content"], NAMES))]
    assert told == []


def crowd(folder: Path) -> Iterator[str]:
    for row in _rows(folder / "llmfao/pairs-crowd.jsonl"):
        yield from (row["result_x"], row["result_y"])


def arena_hard(folder: Path) -> Iterator[str]:
    for file in sorted((folder / "checkpoints_arena_hard").glob("tulu3*.jsonl")):
        yield from (row["messages"][1]["content"]["answer"] for row in _rows(file))


def mt_bench(folder: Path) -> Iterator[str]:
    for row in _rows(folder / "mt_bench/reference_answer_gpt-4.jsonl"):
        yield from row["choices"][0]["turns"]


def pandalm(folder: Path) -> Iterator[str]:
    for row in json.loads((folder / "pandalm/testset-v1.json").read_text(encoding="utf-8")):
        yield from (row[key] for key in ("response1", "response2") if isinstance(row[key], str))


def _rows(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text(encoding="utf-8").split("\n") if line.strip()]


@pytest.mark.parametrize(("texts", "told"), [(crowd, 0), (arena_hard, 3), (mt_bench, 0), (pandalm, 0)])
def test_real_responses_rarely_tell(shared_data: Path, texts: Callable[[Path], Iterator[str]], told: int) -> None:
    found = [words for text in texts(shared_data) if (words := leaks(text))]
    assert len(found) == told
