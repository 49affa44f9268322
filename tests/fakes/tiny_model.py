"""A tiny random Llama-like base model with a byte-level tokenizer, made on the spot.

It is random but not noise: the head prefers lower-case letters, spaces and, now and then, the end of the
turn, so that responses are short, printable, different for every seed, and end by themselves.
"""

import json
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast
from transformers.utils import logging

IM_START, IM_END, END_OF_TEXT = "<|im_start|>", "<|im_end|>", "<|endoftext|>"
CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
HIDDEN_SIZE = 64
# The channel of the residual stream that carries a constant, which makes a head row's weight there a bias.
BIAS_CHANNEL = 0
FREQUENT, END, RARE = 1.75, 1.95, -1.0


def _tokenizer() -> Any:
    """Byte-level BPE without merges: 256 bytes and three special tokens; padding is the end on purpose."""
    vocabulary = {symbol: index for index, symbol in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    backend = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    backend.decoder = decoders.ByteLevel()
    backend.add_special_tokens([END_OF_TEXT, IM_START, IM_END])
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend, eos_token=IM_END, pad_token=IM_END, clean_up_tokenization_spaces=False
    )
    tokenizer.chat_template = CHAT_TEMPLATE
    return tokenizer


def _lean_towards_letters(model: Any, tokenizer: Any) -> None:
    """Write the constant channel into the embeddings and the head's preferences into its rows."""
    frequent = [tokenizer.convert_tokens_to_ids(letter) for letter in "Ġetaoinshrdlu"]
    with torch.no_grad():
        model.model.embed_tokens.weight[:, BIAS_CHANNEL] = 0.2
        head = model.lm_head.weight
        head.mul_(4.0)
        head[:, BIAS_CHANNEL] = RARE
        head[frequent, BIAS_CHANNEL] = FREQUENT
        head[tokenizer.convert_tokens_to_ids(IM_END), BIAS_CHANNEL] = END


def make_tiny_model(folder: Path, seed: int = 0) -> Path:
    """Write a complete base model (config, safetensors, tokenizer, chat template) into ``folder``.

    Takes well under a second after the imports; the same seed gives the same bytes. Different seeds share the
    tokenizer and differ in their weights. Context: 4096 tokens, one per byte of text.
    """
    logging.disable_progress_bar()
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = _tokenizer()
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=HIDDEN_SIZE,
        intermediate_size=2 * HIDDEN_SIZE,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=4096,
        tie_word_embeddings=False,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        dtype="float32",
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = LlamaForCausalLM(config)
    _lean_towards_letters(model, tokenizer)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def write_conversations(path: Path, count: int, *, first: int = 0) -> Path:
    """Write ``count`` short chat rows (``messages`` JSONL) that a tiny model can learn within a few steps."""
    with path.open("w", encoding="utf-8") as file:
        for index in range(first, first + count):
            row = {
                "messages": [
                    {"role": "user", "content": f"what is cheese number {index}?"},
                    {"role": "assistant", "content": f"cheese number {index} is brie" + "." * (index % 5)},
                ]
            }
            file.write(json.dumps(row) + "\n")
    return path
