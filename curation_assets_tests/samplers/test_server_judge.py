"""A profile names a judge behind a server: scores are the model's, go on where they stopped, and stay when the server moves."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from curation_assets.common.progress import silent
from curation_assets.config.profile import load_profile
from curation_assets.config.registry import SAMPLERS
from curation_assets.corpus.reading import open_documents
from curation_assets.engine.graph import STEPS
from curation_assets.engine.staleness import Versions
from curation_assets.engine.workspace import Workspace
from curation_assets.models.build import model_note
from curation_assets.samplers import ask_llm
from curation_assets.samplers.build import scores
from curation_assets.samplers.caveats import few_caveats
from curation_assets.scoring.ask_llm import AskLLM
from curation_assets_tests.conftest import stdlib_texts
from curation_assets_tests.making import load, materialize
from curation_assets_tests.models.small_models import byte_level, small_llama
from curation_assets_tests.report.hand_made import texts, workspace
from curation_assets_tests.scoring.openai_server import Chat, serving, tokens_to_tell

STEP, NOTE = STEPS["ask_llm_small/scores"], STEPS["ask_llm_small/model"]


def answering() -> Chat:
    """A model that says "yes" often: whatever it reads, so that yes is among the first twenty."""
    tokenizer = byte_level(["yes Yes", *[text for _, text in stdlib_texts()]])
    model = small_llama(len(tokenizer))
    judge, states = AskLLM(model, tokenizer, max_tokens=1024, device="cpu"), []
    with model.lm_head.register_forward_pre_hook(lambda _, inputs: states.append(inputs[0][0, -1])):
        judge.score([text for _, text in stdlib_texts()[:8]])
    mean = torch.stack(states).mean(0)
    with torch.no_grad():
        model.lm_head.weight *= 0.02
        model.lm_head.weight[list(judge.answer_ids)] = -6 * mean / mean.square().sum()
        model.lm_head.weight[judge.answer_ids[0]] *= -1
    return Chat(model, tokenizer)


def _named(folder: Path, source: str) -> Workspace:
    """The same data folder under a profile whose small judge is this one, its note made."""
    table = f'extends = "tiny.toml"\nname = "tiny"\n[samplers.ask_llm]\nmax_tokens = 1_024\n[samplers.ask_llm.models]\nsmall = "{source}"\n'
    (folder / "served.toml").write_text(table, "utf-8")
    found = Workspace(load_profile(folder / "served.toml"))
    note = model_note(lambda profile: profile.model_source("ask_llm_small"))
    materialize(found, NOTE, "", lambda inputs: load(note, found, NOTE))
    return found


def _score(found: Workspace) -> None:
    sampler = SAMPLERS["ask_llm_small"]
    materialize(found, STEP, "s.jsonl", lambda inputs: load(scores(sampler), found, STEP), silent)


def test_a_judge_behind_a_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    workspace(tmp_path, monkeypatch, {"s.jsonl": [row for row in texts(200) if len(row[1]) < 1500][:40]}, {})
    monkeypatch.setattr(ask_llm, "_SERVER_PART", 8)
    chat = answering()
    with serving(chat) as url:
        found = _named(tmp_path, f"server:{url}#small")
        assert found.metadata("ask_llm_small/model")["source"] == f"server:{url}#small"
        chat.failing = [0] * 18 + [400] * 1000  # 0: no failure
        with pytest.raises(ValueError, match="HTTP status 400"):
            _score(found)
        chat.failing, before = [], len(chat.asked)
        _score(found)
        read = pq.read_table(open_documents(found, "s.jsonl"))["text"].to_pylist()
        assert len(chat.asked) - before < len(read), (
            "what was scored before the server failed is not asked again"
        )
    table = pq.read_table(found.open("ask_llm_small/scores", "s.jsonl") / "scores.parquet")
    settings = found.profile.samplers.ask_llm
    judge = AskLLM(chat.model, chat.tokenizer, max_tokens=1024, template=settings.prompt, device="cpu")
    np.testing.assert_allclose(table["score"], judge.score(read), atol=0.02)
    moved = _named(tmp_path, "server:http://127.0.0.1:1/v1#small")
    assert Versions(moved).current(STEP, "s.jsonl"), "the same model elsewhere"
    other = _named(tmp_path, "server:http://127.0.0.1:1/v1#other")
    assert not Versions(other).current(STEP, "s.jsonl")


def test_documents_where_yes_is_not_told_are_scored_listed_and_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [row for row in texts(200) if len(row[1]) < 1500][:24]
    workspace(tmp_path, monkeypatch, {"s.jsonl": rows}, {})
    chat = answering()
    judge = AskLLM(chat.model, chat.tokenizer, max_tokens=1024, device="cpu")
    with torch.no_grad():  # as a judge that says "yes" seldom
        chat.model.lm_head.weight[list(judge.answer_ids)] *= 0.02
    chat.told = tokens_to_tell(judge, [row[1] for row in rows], 0.7)
    with serving(chat) as url:
        found = _named(tmp_path, f"server:{url}#small")
        _score(found)
    table = pq.read_table(found.open("ask_llm_small/scores", "s.jsonl") / "scores.parquet").to_pylist()
    hidden = [row for row in table if row["caveat"] == "yes_not_shown"]
    assert 0 < len(hidden) < len(rows) and {row["caveat"] for row in table} == {None, "yes_not_shown"}
    about = found.metadata("ask_llm_small/scores", "s.jsonl")
    assert about["yes_not_shown_documents"] == len(hidden) and about["cut_share"] == 0
    outcome = few_caveats("ask_llm_small", found)
    assert not outcome.passed and outcome.warns
    assert outcome.description == f"{len(hidden)} of {len(rows)} scores are yes_not_shown"
    assert outcome.metadata["first"][0] == f"s.jsonl: {hidden[0]['doc_id']}"
