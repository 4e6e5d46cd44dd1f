"""Blocks of records: what was written is read, by ranges, and what is damaged is noticed."""

from __future__ import annotations

from itertools import chain
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation_assets.common.record_blocks import (
    BLOCKS,
    OFFSETS,
    DamagedBlocks,
    Records,
    parse_blocks,
    with_texts,
    write_blocks,
)

KIND = np.dtype([("hash", "<u8"), ("x", "<f2", (3,))])


def _block(texts: list[str], seed: int) -> Records:
    fields = np.empty(len(texts), KIND)
    draw = np.random.default_rng(seed)
    fields["hash"] = draw.integers(0, 2**64, len(texts), dtype=np.uint64)
    fields["x"] = draw.standard_normal((len(texts), 3))
    return with_texts(fields, pa.array(["before", *texts], pa.string())[1:])


@given(texts=st.lists(st.lists(st.text(max_size=9), max_size=4), max_size=5), data=st.data())
@settings(max_examples=30, deadline=None)
def test_any_range_of_blocks_is_read_by_itself(
    tmp_path_factory: pytest.TempPathFactory, texts: list[list[str]], data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("blocks")
    blocks = [_block(each, number) for number, each in enumerate(texts)]
    write_blocks(folder, iter(blocks))
    offsets, content = np.load(folder / OFFSETS), (folder / BLOCKS).read_bytes()
    assert offsets[-1].tolist() == [len(content), sum(map(len, texts))]
    begin = data.draw(st.integers(0, len(texts)))
    end = data.draw(st.integers(begin, len(texts)))
    found = parse_blocks(content[offsets[begin, 0] : offsets[end, 0]], KIND)
    assert found.texts().to_pylist() == [*chain.from_iterable(texts[begin:end])]
    assert len(found.fields) == offsets[end, 1] - offsets[begin, 1]
    assert found.fields.tobytes() == b"".join(block.fields.tobytes() for block in blocks[begin:end])


def test_every_changed_byte_and_every_cut_is_noticed(tmp_path: Path) -> None:
    write_blocks(tmp_path, [_block(["one", "", "zwölf"], 0), _block([], 1), _block(["four"], 2)])
    content = (tmp_path / BLOCKS).read_bytes()
    second = int(np.load(tmp_path / OFFSETS)[1, 0])
    for place in range(len(content)):
        changed = bytearray(content)
        changed[place] ^= 4
        with pytest.raises(DamagedBlocks):
            parse_blocks(bytes(changed), KIND)
        if place not in (0, second):
            with pytest.raises(DamagedBlocks):
                parse_blocks(content[:place], KIND)
