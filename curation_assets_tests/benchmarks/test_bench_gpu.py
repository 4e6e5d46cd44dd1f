"""The GPU benchmark, in little on a CPU: all rows, what becomes of those that fail, and what is made of a record."""

import json
import subprocess
import time
from pathlib import Path

import pytest
import torch

from benchmarks import bench_gpu, gpu_estimate, gpu_rows
from benchmarks.bench_gpu import in_a_process, record, table
from benchmarks.gpu_rows import ROWS, TINY, Card
from curation_assets.config.profile import load_profile

RATE = 1e10


@pytest.fixture(autouse=True)
def no_other_default():
    before = torch.get_default_dtype()
    yield
    assert torch.get_default_dtype() == before


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in ROWS if name != "graph"])
def test_every_row_is_measured(name, monkeypatch):
    """The same way as on a GPU, but for the processes and the code that torch.compile makes."""
    row = gpu_rows.measure(name, "cpu", "tiny", RATE)
    assert json.loads(json.dumps(row)) == row
    assert row["value"] > 0 and row["flops"] > 0 and row["note"] and row["unit"].endswith("/s")
    if name != "gemm":
        assert 1 <= len(row["top"]) <= 5 and sum(share for _, share in row["top"]) <= 1.001
        assert row["busy"] > 0 and row["seconds"] > 0


@pytest.mark.graph
def test_the_whole_graph_is_a_row():
    row = gpu_rows.measure("graph", "cpu", "tiny", RATE)
    assert row["unit"] == "s" and row["value"] > 0
    assert int(row["note"].split()[2]) > 20


def test_a_row_that_fails_is_a_row_with_its_error_and_the_others_go_on(tmp_path):
    def run(name, device, shapes, rate, seconds):
        if name == "ask_xl":
            raise RuntimeError("OutOfMemoryError: CUDA out of memory")
        return {"value": 2.0, "unit": "documents/s", "flops": 100.0, "note": f"at {rate}"}

    names, path = ["gemm", "ask_xl", "density"], tmp_path / "gpu.json"
    seen = []
    for name, _ in record("cpu", "tiny", path, names=names, run=run):
        seen.append(name)
        assert list(json.loads(path.read_text())["rows"]) == sorted(seen)
    assert seen == names
    rows = json.loads(path.read_text())["rows"]
    assert "out of memory" in rows["ask_xl"]["error"] and "share" not in rows["ask_xl"]
    assert rows["density"]["share"] == 1.0 and rows["density"]["note"] == "at 100.0"


def test_the_whole_is_over_when_its_time_is(tmp_path):
    clock, allowed = iter(range(0, 10_000, 30)), []

    def run(name, device, shapes, rate, seconds):
        allowed.append(seconds)
        return {"value": 1.0, "unit": "s", "note": ""}

    rows = dict(record("cpu", "tiny", tmp_path / "gpu.json", budget=200, run=run, clock=lambda: next(clock)))
    assert list(rows) == list(ROWS)
    assert allowed[0] == ROWS["gemm"][1] and all(0 < seconds <= 200 for seconds in allowed)
    assert len(allowed) < len(ROWS) and "not run: the 200 s" in rows["kmeans"]["error"]


@pytest.mark.process
def test_a_process_gives_its_row_or_its_last_word_and_is_ended_in_time():
    row = in_a_process("gemm", "cpu", "tiny", 0.0, 150)
    assert row["value"] > 0
    with pytest.raises(RuntimeError, match=r"ended with code 1: .*CUDA"):
        in_a_process("gemm", "cuda:99", "tiny", 0.0, 150)
    start = time.monotonic()
    with pytest.raises(RuntimeError, match=r"more than 1 s"):
        in_a_process("gemm", "cpu", "real", 0.0, 1)
    assert time.monotonic() - start < 60


def test_a_record_is_made_into_the_tables_of_the_docs():
    top = [["ampere_gemm|x", 0.5], ["triton", 0.25]]
    done = {
        "title": "Ask",
        "value": 1234.5,
        "unit": "tokens/s",
        "share": 0.414,
        "note": "n",
        "top": top,
        "busy": 1.2,
        "peak_gib": 9.95,
    }
    written = {
        "device": "NVIDIA H100, 80 GiB", "torch": "2.13", "cuda": "12.9", "begun": "2026-11-27T00:00", "shapes": "real",
        "rows": {"kmeans": {"title": "k", "error": "took\nlong"}, "ask_xl": done},
    }  # fmt: skip
    text = table(written)
    assert "NVIDIA H100, 80 GiB, torch 2.13, CUDA 12.9, 2026-11-27, real shapes" in text
    assert (
        "| Ask-LLM, Flan-T5-XL | 1,234 tokens/s | 41.4% | 40% | n |" in text
        and "| k-means |  |  |  | took long |" in text
    )
    assert "| Ask-LLM, Flan-T5-XL | 100% | 9.9 GiB | `ampere_gemm\\|x` 50%, `triton` 25% |" in text


def test_enough_documents_are_measured_for_a_few_seconds():
    real = Card("cpu", gpu_rows.REAL, 700e12)
    assert real.documents(1.4e12) == round(6 * 0.3 * 700e12 / 1.4e12)
    assert Card("cpu", TINY, RATE).documents(1e9) == 16 and real.documents(1.0) == 20_000


def test_the_estimate_is_the_formulas_at_the_papers_scale():
    """By hand: 6 operations for a parameter and token, in each stack; a T5-Large reads 512 of 568 tokens and writes 114."""
    profile = load_profile("hub")
    encoder = 24 * (4 * 1024**2 + 3 * 1024 * 2816)
    decoder, head = encoder + 24 * 2 * 1024**2, 32_128 * 1024
    cross = 24 * 2 * 1024**2 * 512
    by_hand = 6 * (524e9 / 568) * (512 * encoder + 114 * (decoder + head) + cross)
    assert gpu_estimate.training(profile, "large") == pytest.approx(
        by_hand, rel=0.12
    )  # attention is the rest
    scorers = gpu_estimate.scorers(profile)
    assert len(scorers) == 19 and scorers["random"] == 0
    assert scorers["ask_llm_xxl"] > scorers["ask_llm_xl"] > 3 * scorers["ask_llm_large"]
    runs = gpu_estimate.figures(profile)[0]
    assert "19 samplers x 5 rates x 2 sizes, 194 runs" in runs[0]
    assert runs[1] > 95 * (gpu_estimate.training(profile, "large") + gpu_estimate.training(profile, "small"))
    text = gpu_estimate.estimate()
    assert "training T5-Large, 524B tokens" in text and "C4 by `ask_llm_xl`" in text


def test_without_a_gpu_it_says_so(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(subprocess, "run", None)
    (row,) = bench_gpu.rows()
    assert "torch sees no GPU here" in str(row)


def test_density_is_judged_by_its_own_product(monkeypatch):
    """A bfloat16 product is ten times as fast as one in float32."""
    row = {"value": 1e6, "unit": "documents/s", "share": 0.05, "own_gemm": 0.6, "note": ""}
    rows = {"density": row, "ask_xl": row | {"share": 0.3}}
    del rows["ask_xl"]["own_gemm"]
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(bench_gpu, "record", lambda *_: iter(rows.items()))
    density, ask = bench_gpu.rows()
    assert density.value == 0.6 and "ok" in str(density)
    assert ask.value == 0.3 and "MISSED" in str(ask)


def test_the_docs_have_the_estimate_that_the_command_prints():
    page = (Path(bench_gpu.__file__).parents[1] / "docs" / "gpu.md").read_text(encoding="utf-8")
    assert gpu_estimate.estimate() in page
    assert all(
        f"| {word}" in page
        for word in ("Ask-LLM", "density", "training", "perplexity", "embeddings", "SemDeDup")
    )
