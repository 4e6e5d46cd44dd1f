"""A tiny T5 and its tokenizer, shared by the tests of fine-tuning and answering."""

from __future__ import annotations

from pathlib import Path

import pytest

from curation_assets.models import t5
from curation_assets.models.tokenizer import Tokenizer, load_tokenizer, train_tokenizer
from curation_assets_tests.conftest import stdlib_texts


@pytest.fixture(scope="session")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    folder = tmp_path_factory.mktemp("tokenizer")
    texts = [text for _, text in stdlib_texts()] + ["red blue green number odd even one two three four"] * 40
    train_tokenizer(texts, 900, folder)
    return load_tokenizer(folder)


@pytest.fixture(scope="session")
def base(tokenizer: Tokenizer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("base")
    t5.save(t5.build(t5.Shape(32, 8, 64, 1, 4), tokenizer.vocab_size, seed=1), folder)
    return folder
