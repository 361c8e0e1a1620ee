"""Small models of every kind with tokenizers of every kind, made here with random weights."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

CORPUS = [
    "Once upon a time, there was a little girl named Lily. She didn't like to eat her “green” peas, but her mom said:",
    "“You would grow BIG!” One day Lily went to the café with Zoë and saw a big red ball. It's my ball, said the boy.",
    "They played all day and the sun was warm. Then they went home and were happy ever after. 0123456789",
]
SPECIAL = ["<pad>", "<s>", "</s>", "<unk>", "<mask>"]


def byte_level() -> Any:
    """As GPT-2 and RoBERTa: bytes, the space in front belongs to the token."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    made.train_from_iterator(
        CORPUS, trainers.BpeTrainer(vocab_size=400, special_tokens=SPECIAL, initial_alphabet=alphabet)
    )
    return made


def word_pieces() -> Any:
    """As BERT: lower-cased, accents gone, punctuation apart, pieces of words."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers

    made = Tokenizer(models.WordPiece(unk_token="<unk>"))
    made.normalizer = normalizers.BertNormalizer(lowercase=True)
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    made.train_from_iterator(CORPUS, trainers.WordPieceTrainer(vocab_size=200, special_tokens=SPECIAL))
    return made


def sentence_pieces() -> Any:
    """As T5: a mark for the space, the likeliest cut."""
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    made = Tokenizer(models.Unigram())
    made.pre_tokenizer = pre_tokenizers.Metaspace()
    made.train_from_iterator(
        CORPUS, trainers.UnigramTrainer(vocab_size=120, special_tokens=SPECIAL, unk_token="<unk>", show_progress=False)
    )
    return made


def small(kind: str) -> tuple[Any, str, str]:
    """Tokenizer, what it puts around a text, and the name of the network's class."""
    return {
        "gpt2": (byte_level, "$A", "GPT2LMHeadModel"),
        "bert": (word_pieces, "<s> $A </s>", "BertForMaskedLM"),
        "roberta": (byte_level, "<s> $A </s>", "RobertaForMaskedLM"),
        "t5": (sentence_pieces, "$A </s>", "T5ForConditionalGeneration"),
    }[kind]


def config_of(kind: str, vocabulary: int, positions: int) -> Any:
    import transformers as t

    common = {"vocab_size": vocabulary, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
    bert = {
        "hidden_size": 32,
        "num_hidden_layers": 3,
        "num_attention_heads": 2,
        "intermediate_size": 48,
        "initializer_range": 0.2,
    }
    if kind == "gpt2":
        return t.GPT2Config(**common, n_embd=32, n_layer=3, n_head=2, n_positions=positions, initializer_range=0.2)
    if kind == "t5":
        return t.T5Config(**common, d_model=32, d_kv=16, d_ff=48, num_layers=3, num_heads=2, decoder_start_token_id=0)
    config = t.BertConfig if kind == "bert" else t.RobertaConfig
    return config(**common, **bert, max_position_embeddings=positions + (kind == "roberta"))


@pytest.fixture(scope="session")
def small_model(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """A folder with a model of a kind: "gpt2", "bert", "roberta" or "t5"; three layers of 32 units, random weights."""
    made: dict[str, Path] = {}

    def folder(kind: str) -> Path:
        if kind not in made:
            made[kind] = _write(kind, tmp_path_factory.mktemp("models") / kind)
        return made[kind]

    return folder


def _write(kind: str, folder: Path) -> Path:
    import torch
    import transformers
    from tokenizers.processors import TemplateProcessing

    build, around, network = small(kind)
    tokenizer = build()
    tokenizer.post_processor = TemplateProcessing(single=around, special_tokens=[("<s>", 1), ("</s>", 2)])
    names = {"pad_token": "<pad>", "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
    names |= {"mask_token": "<mask>"} if kind in ("bert", "roberta") else {}
    transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=128, **names).save_pretrained(
        folder
    )
    torch.manual_seed(len(kind))
    getattr(transformers, network)(config_of(kind, tokenizer.get_vocab_size(), 128)).save_pretrained(folder)
    return folder
