"""Profiles: both packaged ones load, a user's file overrides, and every mistake gets one clear line."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from curation_assets.graph import STEPS
from curation_assets.profile import ProfileError, load_profile
from curation_assets.registry import SIZES


def _write(tmp_path: Path, text: str, name: str = "mine.toml") -> str:
    path = tmp_path / name
    path.write_text(text, "utf-8")
    return str(path)


def test_local_is_the_default_and_can_be_named_by_the_environment(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("CURATION_PROFILE", raising=False)
    assert load_profile().name == "local"
    monkeypatch.setenv("CURATION_PROFILE", _write(tmp_path, ""))
    assert load_profile().name == "mine"


def test_hub_loads_without_a_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        raise AssertionError("the network was touched")

    monkeypatch.setattr(socket, "socket", refuse)
    hub = load_profile("hub")
    assert hub.clusters.count == 10_000 and hub.density.rows == 1_000 and hub.density.buckets == 20_000
    assert (hub.pretraining.batch_size, hub.pretraining.input_length) == (1024, 512)
    assert hub.sizes == ["small", "base", "large", "xl", "xxl"]


def test_a_file_overrides_single_fields(tmp_path: Path) -> None:
    mine = load_profile(_write(tmp_path, 'extends = "hub"\n[density]\nrows = 50\n[corpus]\nurl = "texts"\n'))
    assert mine.density.rows == 50 and mine.density.buckets == 20_000 and mine.name == "mine"
    assert mine.corpus.url == str(tmp_path / "texts"), "relative paths count from the file"
    again = load_profile(_write(tmp_path, 'extends = "mine.toml"\n[density]\nseed = 3\n', "second.toml"))
    assert (again.density.rows, again.density.seed, again.name) == (50, 3, "second")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[density]\nrowz = 3", "density.rowz: unknown key; did you mean 'rows'?"),
        ("[densty]\nrows = 3", "densty: unknown key; did you mean 'density'?"),
        ("[ladder.small]\nd_modle = 3", "ladder.small.d_modle: unknown key; did you mean 'd_model'?"),
        ('[density]\nrows = "many"', "density.rows: input should be a valid integer, got 'many'"),
        ("[density]\nrows = 0", "density.rows: input should be greater than 0, got 0"),
        ('[run]\nsamplers = ["densty"]', "unknown sampler 'densty'; did you mean 'density'?"),
        ('[run]\nrates = ["15"]', "run.rates.0: input should be '10', '20', '40', '60' or '80', got '15'"),
        ('[ask_llm.models]\nxl = "hub:google/flan-t5-xl"', "no revision is given; pin the commit"),
        (
            '[ask_llm.models]\nxl = "flan-t5"',
            "ask_llm.models.xl: model source 'flan-t5' must begin with one of pip:",
        ),
        ('[ask_llm]\nprompt = "Good?"', "ask_llm: prompt must hold {document} once"),
        (
            '[judge.bases]\nxl = "asset:full_data/checkpoint#base"',
            "bases.xl must be asset:full_data/checkpoint#xl",
        ),
        (
            '[perplexity.models]\nsmall = "asset:full_data/checkpoint#small@0.33"',
            "perplexity.models.small is asset:full_data/checkpoint#small@0.33, but of full_data/checkpoint only the shares",
        ),
        ("[pretraining]\nsnapshots = [0.5]", "snapshots must rise and end with 1.0"),
        ("[pretraining]\nseeds = [1, 1]", "seeds repeat"),
        ("density = 3", "density: "),
        ("[density\n", "not valid TOML"),
        ('extends = "nowhere.toml"', "cannot read this profile"),
        ('extends = "mine.toml"', "in a circle"),
    ],
)
def test_every_mistake_has_one_clear_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ProfileError) as caught:
        load_profile(_write(tmp_path, text))
    lines = str(caught.value).splitlines()
    assert len(lines) == 1 and message in lines[0] and ".toml: " in lines[0]


def test_perplexity_is_always_measured(tmp_path: Path) -> None:
    with pytest.raises(ProfileError, match='suites must name "perplexity"'):
        load_profile(_write(tmp_path, '[evaluation]\nsuites = ["probes"]'))


def test_two_mistakes_are_both_told(tmp_path: Path) -> None:
    with pytest.raises(ProfileError) as caught:
        load_profile(_write(tmp_path, "[density]\nrowz = 3\n[clusters]\ncount = -1"))
    assert len(str(caught.value).splitlines()) == 2


def test_a_missing_file_says_which_profiles_there_are() -> None:
    with pytest.raises(ProfileError, match="packaged profiles are local, hub"):
        load_profile("locl")


EXECUTION_ONLY = """
[execution]
data = "elsewhere"
device = "cuda"
dtype = "bfloat16"
workers = 3
processes = 2
compile = true
[embeddings]
batch_tokens = 999
[pretraining]
micro_batch_size = 16
resume_seconds = 1.0
[corpus]
url = "/somewhere"
storage_options = { anon = true }
[evaluation]
batch_tokens = 77
eval_root = "/elsewhere"
optional = []
[evaluation.finetuning]
resume_seconds = 1.0
[clusters]
[perplexity]
batch_tokens = 77
[ask_llm]
batch_tokens = 77
[judge]
resume_seconds = 1.0
[run]
rates = ["10"]
[automation]
training = true
retries = 9
listing_cron = ""
"""


def test_where_and_how_something_runs_never_changes_a_version(tmp_path: Path) -> None:
    base, moved = load_profile("local"), load_profile(_write(tmp_path, EXECUTION_ONLY))
    assert {k: s.code_version(base) for k, s in STEPS.items()} == {
        k: s.code_version(moved) for k, s in STEPS.items()
    }


COSTS = ("report/tradeoff",)
SUBSETS = tuple(key for key in STEPS if key.endswith("/subset"))
METRICS = tuple(key for key in STEPS if key.endswith("/metrics"))
ASK_LLM = {"judge/labels", "judge/checkpoint"} | {f"ask_llm_{size}/scores" for size in SIZES}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[density]\nseed = 5", {"density/shard_sketch", "density/sketch", "density/scores", *COSTS}),
        ("[embeddings]\nmax_tokens = 64", {"corpus/embeddings", *COSTS}),
        ("[tokenizer]\nvocab_size = 1024", {"corpus/tokenizer"}),
        ("[corpus]\nmax_chars = 9", {"corpus/documents", "corpus/validation"}),
        ("[clusters]\ndrift = 0.5", set()),
        ('[ask_llm]\nprompt = "{document} Good?"', {*ASK_LLM, *COSTS}),
        (
            "[perplexity]\nmax_windows = 9",
            {*COSTS, *(name for name in STEPS if name.startswith("perplexity") and "scores" in name)},
        ),
        ('[perplexity.models]\nxl = "path:/xl"', {"perplexity_xl/model", *COSTS}),
        ("[judge]\ndocuments = 999", {"judge/labels", *COSTS}),
        ("[judge]\nepochs = 9.0", {"judge/checkpoint", *COSTS}),
        ("[evaluation]\nmax_examples = 9", {"evaluation/examples", *METRICS}),
        ("[evaluation.finetuning]\nsteps = 9", set(METRICS)),
        ("[evaluation]\ndecontaminate = true", {"full_data/checkpoint"}),
        (
            '[selection]\nrate_of = "tokens"',
            {*SUBSETS, "report/comparison", "report/distributions"},
        ),
    ],
)
def test_what_changes_a_result_changes_the_code_version_of_exactly_its_steps(
    tmp_path: Path, text: str, expected: set[str]
) -> None:
    base, changed = load_profile("local"), load_profile(_write(tmp_path, text))
    found = {key for key, step in STEPS.items() if step.code_version(base) != step.code_version(changed)}
    assert found == expected | _told_of_by(expected)


def _told_of_by(changed: set[str]) -> set[str]:
    """Return the reports that say of what changed whether it is current."""
    by_scores = {"report/correlation", "report/distributions", "report/documents"}
    found = by_scores if any(key.endswith("/scores") for key in changed) else set()
    found |= {"report/composition"} if any(key.endswith("/subset") for key in changed) else set()
    return found | ({"report/page"} if changed else set())
