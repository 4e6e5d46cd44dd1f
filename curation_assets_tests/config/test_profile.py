"""Profiles: both packaged ones load, a user's file overrides, and every mistake gets one clear line."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest

from curation_assets.config.profile import (
    MODELS,
    PATHS,
    ProfileError,
    load_profile,
    profile_type,
    sampler_models,
)
from curation_assets.config.registry import SIZES
from curation_assets.engine.graph import STEPS


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
    assert hub.samplers.clusters.count == 10_000
    assert (hub.samplers.density.rows, hub.samplers.density.buckets) == (1_000, 20_000)
    assert (hub.pretraining.batch_size, hub.pretraining.input_length) == (1024, 512)
    assert hub.sizes == ["small", "base", "large", "xl", "xxl"]


def test_a_file_overrides_single_fields(tmp_path: Path) -> None:
    mine = load_profile(
        _write(tmp_path, 'extends = "hub"\n[samplers.density]\nrows = 50\n[corpus]\nurl = "texts"\n')
    )
    assert (mine.samplers.density.rows, mine.samplers.density.buckets, mine.name) == (50, 20_000, "mine")
    assert mine.corpus.url == str(tmp_path / "texts"), "relative paths count from the file"
    again = load_profile(
        _write(tmp_path, 'extends = "mine.toml"\n[samplers.density]\nseed = 3\n', "second.toml")
    )
    assert (again.samplers.density.rows, again.samplers.density.seed, again.name) == (50, 3, "second")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[samplers.density]\nrowz = 3", "density.rowz: unknown key; did you mean 'rows'?"),
        ("[samplers.densty]\nrows = 3", "samplers.densty: unknown key; did you mean 'density'?"),
        ("[density]\nrows = 3", "mine.toml: [density]: write [samplers.density]"),
        ("[ask_llm.models]\nxl = 3", "mine.toml: [ask_llm]: write [samplers.ask_llm]"),
        ("[reprot]\nseed = 3", "reprot: unknown key; did you mean 'report'?"),
        ("[ladder.small]\nd_modle = 3", "ladder.small.d_modle: unknown key; did you mean 'd_model'?"),
        ('[samplers.density]\nrows = "many"', "density.rows: input should be a valid integer, got 'many'"),
        ("[samplers.density]\nrows = 0", "density.rows: input should be greater than 0, got 0"),
        ('[run]\nsamplers = ["densty"]', "unknown sampler 'densty'; did you mean 'density'?"),
        (
            "[run]\namounts = []",
            "run.amounts: empty: name at least one of 10%, 20%, 40%, 60%, 80% (or another",
        ),
        (
            '[run]\namounts = ["100 %"]',
            "run.amounts: 100% is the whole corpus, which full_data is trained on",
        ),
        ('[run]\namounts = ["20"]', 'run.amounts: 20 is no rate: say "20%", "20 documents" or "20 tokens"'),
        ('[run]\namounts = ["lots"]', "run.amounts: 'lots' is no amount: say"),
        (
            '[selection]\nwithin = "source"\n[run]\namounts = ["4k tokens"]',
            "run.amounts: within source (selection.within) a selection keeps a rate, not 4k tokens",
        ),
        ("[run]\nsizes = []", "run.sizes: empty: name at least one of small, base, large, xl, xxl"),
        ('[run]\nsamplers = ["zzz"]', "run.samplers: unknown sampler 'zzz'; there are random, density, "),
        ('[run]\nsizes = ["huge"]', "run.sizes.0: input should be 'small', 'base'"),
        ('[corpus]\nurl = "\\u0000"', "a path that there cannot be: embedded null byte"),
        (
            '[corpus]\nkeep_fields = ["text"]',
            "corpus.keep_fields: ['text'] clash with the columns that every",
        ),
        ("[corpus]\nkeep_fields = 'a'", "corpus.keep_fields: input should be a valid tuple, got 'a'"),
        ('[corpus]\nextends = "hub"', "corpus.extends: unknown key"),
        ('[run]\nrates = ["15"]', 'mine.toml: run: rates are called amounts now: write amounts = ["15%"]'),
        ('[samplers.ask_llm.models]\nxl = "hub:google/flan-t5-xl"', "no revision is given; pin the commit"),
        (
            '[samplers.ask_llm.models]\nxl = "flan-t5"',
            "ask_llm.models.xl: model source 'flan-t5' must begin with one of pip:",
        ),
        ('[samplers.ask_llm]\nprompt = "Good?"', "ask_llm: prompt must hold {document} once"),
        (
            '[judge.bases]\nxl = "asset:full_data/checkpoint#base"',
            "bases.xl must be asset:full_data/checkpoint#xl",
        ),
        (
            '[samplers.perplexity.models]\nsmall = "asset:full_data/checkpoint#small@0.33"',
            "perplexity.models.small is asset:full_data/checkpoint#small@0.33, but of full_data/checkpoint only the shares",
        ),
        ("[pretraining]\nsnapshots = [0.5]", "snapshots must rise and end with 1.0"),
        ("[pretraining]\nseeds = [1, 1]", "seeds repeat"),
        ("corpus = 3", "corpus: "),
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
        load_profile(_write(tmp_path, "[samplers.density]\nrowz = 3\n[clusters]\ncount = -1"))
    assert len(str(caught.value).splitlines()) == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[ask_llm]\nprompt = 'x'", "[ask_llm]: write [samplers.ask_llm]"),
        ("[reprot]\nseed = 3", "reprot: unknown key"),
    ],
)
def test_a_mistake_in_what_is_extended_is_told_of_that_file(tmp_path: Path, text: str, message: str) -> None:
    base = _write(tmp_path, text, "base.toml")
    with pytest.raises(ProfileError) as caught:
        load_profile(_write(tmp_path, 'extends = "base.toml"\n[samplers.density]\nrows = 0'))
    first, second = str(caught.value).splitlines()
    assert first.startswith(f"{base}: {message}") and "mine.toml: samplers.density.rows" in second


def test_a_missing_file_says_which_profiles_there_are() -> None:
    with pytest.raises(ProfileError, match="packaged profiles are local, hub"):
        load_profile("locl")


@pytest.mark.parametrize("content", [b"\xff\xfe", b"[corpus]\nurl = '\x00'\n", b"= 3", b"[a]\n[a]\n"])
def test_a_file_that_is_no_profile_has_one_line(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "mine.toml").write_bytes(content)
    with pytest.raises(ProfileError, match="not valid TOML") as caught:
        load_profile(str(tmp_path / "mine.toml"))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "extends", [".", "nowhere/", "mine.toml/x", "a\\u0000b", "~nobody-of-that-name/x.toml"]
)
def test_what_is_extended_and_cannot_be_read_has_one_line(tmp_path: Path, extends: str) -> None:
    with pytest.raises(ProfileError) as caught:
        load_profile(_write(tmp_path, f'extends = "{extends}"'))
    assert "\n" not in str(caught.value)


def test_a_byte_order_mark_is_no_mistake(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_bytes(b"\xef\xbb\xbf[samplers.density]\nrows = 7\n")
    assert load_profile(str(tmp_path / "mine.toml")).samplers.density.rows == 7


RELATIVE = """
[corpus]
url = "texts/*.jsonl"
hq_url = "~/good"
[tokenizer]
model = "path:models/t5"
[embeddings]
model = "path:~/minilm"
[samplers.perplexity.models]
small = "path:../t5"
[samplers.ask_llm.models]
xl = "path:judge"
[judge]
teacher = "path:teacher"
[judge.bases]
small = "path:/root-folder/base"
[evaluation]
eval_root = "mirror"
[execution]
data = "made"
store = "artifacts"
"""


def test_every_relative_path_counts_from_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home, here, elsewhere = tmp_path / "home", tmp_path / "here", tmp_path / "elsewhere"
    for folder in (home, here, elsewhere):
        folder.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("CURATION_DATA", "")
    _write(here, RELATIVE)
    _write(elsewhere, 'extends = "../here/mine.toml"', "other.toml")
    monkeypatch.chdir(elsewhere)
    for name in ("../here/mine.toml", "other.toml"):
        mine = load_profile(name)
        assert mine.corpus.url == f"{here}/texts/*.jsonl" and mine.corpus.hq_url == f"{home}/good"
        assert (
            mine.tokenizer.model == f"path:{here}/models/t5"
            and mine.embeddings.model == f"path:{home}/minilm"
        )
        assert mine.samplers.perplexity.models["small"] == f"path:{tmp_path}/t5"
        assert mine.samplers.perplexity.models["base"] == "asset:full_data/checkpoint#base"
        assert (
            mine.samplers.ask_llm.models["xl"] == f"path:{here}/judge"
            and mine.judge.teacher == f"path:{here}/teacher"
        )
        assert mine.judge.bases["small"] == "path:/root-folder/base"
        assert mine.evaluation.eval_root == f"{here}/mirror"
        assert (mine.data, mine.execution.store) == (here / "made", f"{here}/artifacts")


def test_urls_stay_as_they_are(tmp_path: Path) -> None:
    text = '[corpus]\nurl = "s3://b/c"\nhq_url = "builtin"\n[execution]\nstore = "memory://x"\n[evaluation]\neval_root = ""'
    mine = load_profile(_write(tmp_path, text))
    assert (mine.corpus.url, mine.corpus.hq_url) == ("s3://b/c", "builtin")
    assert (mine.execution.store, mine.evaluation.eval_root) == ("memory://x", "")


def test_data_counts_from_the_file_even_where_it_is_a_packaged_profiles(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CURATION_DATA", "")
    (tmp_path / "inner").mkdir()
    monkeypatch.chdir(tmp_path / "inner")
    assert load_profile(_write(tmp_path, "")).data == tmp_path / "data"
    assert load_profile(_write(tmp_path, 'extends = "hub"')).data == tmp_path / "data" / "hub"
    assert load_profile("local").data == tmp_path / "inner" / "data", (
        "a packaged profile has no folder of yours"
    )


def test_the_environment_counts_from_the_working_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for given, meant in (("here", "here"), ("~/there", "home/there"), ("./a/../b", "b")):
        monkeypatch.setenv("CURATION_DATA", given)
        assert load_profile("local").data == tmp_path / meant
    monkeypatch.setenv("CURATION_DATA", "s3://bucket/data")
    with pytest.raises(ProfileError, match="store takes URLs"):
        _ = load_profile("local").data


@pytest.mark.parametrize(
    "name", ["mine.toml", "mine", "./mine.toml", "~/mine.toml", "../{}/mine.toml", "{}/link.toml"]
)
def test_a_profile_is_known_by_its_absolute_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    _write(tmp_path, "[samplers.density]\nrows = 7")
    _write(tmp_path, "[samplers.density]\nrows = 7", "mine")
    (tmp_path / "link.toml").symlink_to("mine.toml")
    named = name.format(tmp_path if name.startswith("{") else tmp_path.name)
    monkeypatch.setenv("CURATION_PROFILE", named)
    source = load_profile().source
    assert source == str(tmp_path / Path(named).name)
    monkeypatch.chdir("/")
    assert load_profile(source).samplers.density.rows == 7 and load_profile(source).source == source


ALL_MODELS = (*MODELS, *((f"samplers.{table}", name) for table, name in sampler_models()))
NO_PATHS = {
    "name", "source", "corpus.text_field", "corpus.id_field", "corpus.planted.text_field", "corpus.planted.id_field", "corpus.planted.field",
    "samplers.ask_llm.prompt", "evaluation.instructions",
    "automation.listing_cron", "automation.refresh_cron", "execution.device", "execution.ray.address", "execution.ray.scratch",
    "execution.catalog", "execution.dagster_storage", "labels.field", "selection.within", "samplers.semdedup_density.first",
    "samplers.ask_llm_density.first", "export.license",
}  # fmt: skip


def test_no_setting_that_may_be_a_path_is_forgotten() -> None:
    """Whoever adds a text to the settings says here that it is no path, or there that it is one."""
    texts = {name for name, value in _leaves(load_profile("local").model_dump()) if isinstance(value, str)}
    known = {f"{section}.{name}" for section, name in PATHS + ALL_MODELS}
    choices = {name for name in texts - known if "Literal" in str(_annotation(name))}
    assert texts - choices - NO_PATHS == known | {"corpus.planted.url"}, (
        "which counts as the urls of sources do"
    )


def _leaves(tree: dict[str, Any], within: str = "") -> Any:
    for name, value in tree.items():
        table = isinstance(value, dict) and (within, name) not in {(f"{s}.", n) for s, n in ALL_MODELS}
        if table:
            yield from _leaves(value, f"{within}{name}.")
        else:
            yield (
                f"{within}{name}",
                next(iter(value.values())) if isinstance(value, dict) and value else value,
            )


def _annotation(name: str) -> Any:
    section: Any = profile_type()
    for part in name.split("."):
        section = section.model_fields[part].annotation if hasattr(section, "model_fields") else section
    return section


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
[samplers.clusters]
[samplers.perplexity]
batch_tokens = 77
[samplers.ask_llm]
batch_tokens = 77
[judge]
resume_seconds = 1.0
[run]
amounts = ["10%"]
[export]
samplers = ["random"]
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
EXPORTS = tuple(key for key in STEPS if key.endswith("/export"))
METRICS = tuple(key for key in STEPS if key.endswith("/metrics"))
ASK_LLM = {"judge/labels", "judge/checkpoint"} | {f"ask_llm_{size}/scores" for size in (*SIZES, "gemma")}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "[samplers.density]\nseed = 5",
            {"density/shard_sketch", "density/sketch", "density/scores", *COSTS},
        ),
        (
            "[embeddings]\nmax_tokens = 64",
            {"corpus/embeddings", "corpus/reference_embeddings", "judge/label_embeddings", *COSTS},
        ),
        ("[tokenizer]\nvocab_size = 1024", {"corpus/tokenizer"}),
        ("[corpus]\nmax_chars = 9", {"corpus/documents", "corpus/validation", "corpus/reference", *EXPORTS}),
        ("[corpus]\nreference_documents = 9", {"corpus/reference"}),
        ("[samplers.dsir]\nseed = 5", {"dsir/shard_counts", "dsir/log_ratios", "dsir/scores"}),
        (
            "[samplers.q_classifier]\npenalty = 5.0",
            {"q_classifier/classifier", "q_classifier/scores"},
        ),
        ("[samplers.clusters]\ndrift = 0.5", set()),
        ("[samplers.semdedup]\nthreshold = 0.95", {"report/duplicates", *EXPORTS}),
        ('[export]\nrepeat = ["top 10% x 2"]', set(EXPORTS)),
        ('[samplers.ask_llm]\nprompt = "{document} Good?"', {*ASK_LLM, *COSTS}),
        (
            "[samplers.perplexity]\nmax_windows = 9",
            {*COSTS, *(name for name in STEPS if name.startswith("perplexity") and "scores" in name)},
        ),
        ('[samplers.perplexity.models]\nxl = "path:/xl"', {"perplexity_xl/model", *COSTS}),
        ("[judge]\ndocuments = 999", {"judge/labels", *COSTS}),
        ("[judge]\nepochs = 9.0", {"judge/checkpoint", *COSTS}),
        ("[evaluation]\nmax_examples = 9", {"evaluation/examples"}),
        ("[evaluation]\nmax_documents = 9", {"corpus/validation"}),
        ("[evaluation.finetuning]\nsteps = 9", set(METRICS)),
        ("[evaluation]\ndecontaminate = true", {"full_data/checkpoint", *SUBSETS, *COSTS}),
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
    by_scores = {
        f"report/{name}" for name in ("labels", "correlation", "distributions", "documents", "composition")
    }
    found = by_scores if any(key.endswith("/scores") for key in changed) else set()
    found |= {"report/composition"} if any(key.endswith("/subset") for key in changed) else set()
    found |= {"report/duplicates"} if "semdedup/subset" in changed else set()
    return found | ({"report/page"} if changed else set())
