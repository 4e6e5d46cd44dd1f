"""Scoring in parts: the same table however it is cut, killed or resumed."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation_assets.common.progress import Progress, silent
from curation_assets.samplers.parts import in_parts, part_size


def squares(asked: list[slice], fail_at: int | None = None):
    def score(rows: slice, progress: Progress) -> pa.Table:
        if fail_at is not None and rows.stop > fail_at:
            raise RuntimeError("killed")
        asked.append(rows)
        progress(rows.stop - rows.start, rows.stop - rows.start, "documents")
        return pa.table(
            {"score": pa.array([float(i * i) for i in range(rows.start, rows.stop)], pa.float64())}
        )

    return score


@settings(deadline=None, max_examples=60)
@given(n=st.integers(0, 60), size=st.integers(1, 25), then=st.integers(1, 25), fail_at=st.integers(0, 60))
def test_a_killed_run_goes_on_and_ends_alike(
    tmp_path_factory: pytest.TempPathFactory, n: int, size: int, then: int, fail_at: int
) -> None:
    home = tmp_path_factory.mktemp("parts") / "version"
    before: list[slice] = []
    try:
        in_parts(home, n, size, squares(before, fail_at), silent)
    except RuntimeError:
        kept = {int(path.stem.split("-")[0]): pq.read_table(path).num_rows for path in home.glob("*.parquet")}
        assert kept == {rows.start: rows.stop - rows.start for rows in before}
        after: list[slice] = []
        table = in_parts(home, n, then, squares(after), silent)
        assert not {r for s in before for r in range(s.start, s.stop)} & {
            r for s in after for r in range(s.start, s.stop)
        }, "nothing is scored twice"
    else:
        again: list[slice] = []
        table = in_parts(home, n, size, squares(again), silent)
        assert len(again) <= 1, "parts stay until whoever asked has kept the scores"
    assert table["score"].to_pylist() == [float(i * i) for i in range(n)]
    shutil.rmtree(home.parent)


def test_whatever_is_damaged_of_a_part_it_is_scored_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    home, dice = tmp_path / "v", random.Random(0)
    with pytest.raises(RuntimeError):
        in_parts(home, 30, 10, squares([], fail_at=25), silent)
    for _ in range(150):  # most flips of a compressed page give other scores, and no error
        [part] = home.glob("10-*.parquet")
        content = bytearray(part.read_bytes())
        content[dice.randrange(len(content))] ^= 1 << dice.randrange(8)
        part.write_bytes(content)
        asked: list[slice] = []
        table = in_parts(home, 30, 10, squares(asked), silent)
        assert [rows.start for rows in asked] == [10, 20]
        assert table["score"].to_pylist() == [float(i * i) for i in range(30)]
    assert str(part) in caplog.text and "scored again" in caplog.text
    part.write_bytes(b"PAR1 cut off")
    assert in_parts(home, 30, 10, squares([]), silent).num_rows == 30


def test_progress_counts_the_whole_shard(tmp_path: Path) -> None:
    told: list[tuple[float, float]] = []
    in_parts(
        tmp_path / "v", 25, 10, squares([]), lambda done, total, unit, note="": told.append((done, total))
    )
    assert told == [(10, 25), (20, 25), (25, 25)]


def test_a_part_takes_about_a_minute() -> None:
    assert part_size(10_000_000, 256, "cpu") > 300
    assert part_size(1_500_000_000, 512, "cpu") == 16
    assert part_size(11_000_000_000, 512, "cuda:1") > 400
    assert part_size(1, 1, "cuda") == 8192
