from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation_assets.corpus.tokens import ids_dtype, read_tokens, write_tokens


class Characters:
    """A tokenizer of one id a character; the real one is tested in test_tokenizer."""

    def __init__(self, vocab_size=1 << 16):
        self.vocab_size = vocab_size

    def encode_batch(self, texts):
        return [np.array([ord(c) for c in text], np.int32) for text in texts]


@given(st.lists(st.lists(st.text(st.characters(max_codepoint=0xFFFF)), max_size=4), max_size=5))
@settings(max_examples=60, deadline=None)
def test_round_trip_whatever_the_batches(tmp_path_factory, batches):
    folder = tmp_path_factory.mktemp("tokens")
    texts = [text for batch in batches for text in batch]
    assert write_tokens(batches, Characters(), folder, "documents") == (len(texts), sum(map(len, texts)))
    ids, offsets = read_tokens(folder, "documents")
    assert (ids.dtype, offsets.dtype, len(offsets)) == (np.uint16, np.int64, len(texts) + 1)
    got = ["".join(map(chr, ids[start:end].tolist())) for start, end in pairwise(offsets)]
    assert got == texts


def test_the_files_are_plain_npy_and_do_not_depend_on_batches(tmp_path):
    write_tokens([["ab", ""], ["c"]], Characters(), tmp_path, "x")
    write_tokens(iter([["ab"], [], ["", "c"]]), Characters(), tmp_path, "y")
    assert np.load(tmp_path / "x.ids.npy").tolist() == [97, 98, 99]
    assert np.load(tmp_path / "x.offsets.npy").tolist() == [0, 2, 2, 3]
    for kind in ("ids", "offsets"):
        assert (tmp_path / f"x.{kind}.npy").read_bytes() == (tmp_path / f"y.{kind}.npy").read_bytes()
    assert len(list(tmp_path.iterdir())) == 4


def test_ids_are_read_as_a_map_that_cannot_be_written(tmp_path):
    write_tokens([["abc"]], Characters(), tmp_path, "x")
    ids, _ = read_tokens(tmp_path, "x")
    assert isinstance(ids, np.memmap)
    with pytest.raises(ValueError, match="read-only"):
        ids[0] = 1


def test_large_vocabularies_get_wider_ids(tmp_path):
    assert ids_dtype(1 << 16) == np.uint16
    assert ids_dtype((1 << 16) + 1) == np.int32
    write_tokens([["\U0001f600"]], Characters(1 << 21), tmp_path, "x")
    assert read_tokens(tmp_path, "x")[0].tolist() == [0x1F600]


def test_an_error_leaves_nothing_under_the_final_names(tmp_path):
    def broken():
        yield ["abc"]
        raise RuntimeError("source failed")

    with pytest.raises(RuntimeError, match="source failed"):
        write_tokens(broken(), Characters(), tmp_path, "x")
    assert not list(tmp_path.glob("*.npy"))


def test_files_that_do_not_belong_together_are_refused(tmp_path):
    write_tokens([["abc"]], Characters(), tmp_path, "x")
    np.save(tmp_path / "x.ids.npy", np.zeros(2, np.uint16))
    with pytest.raises(ValueError, match="offsets end at 3, but there are 2 ids"):
        read_tokens(tmp_path, "x")
