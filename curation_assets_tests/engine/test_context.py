"""What builders are given: what their steps declare and no more; and that no step declares more than it reads."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import pytest

from curation_assets.config.paths import Declaration, UndeclaredSetting
from curation_assets.config.profile import Profile, load_profile
from curation_assets.definitions import PRODUCTS
from curation_assets.engine.artifacts import Artifacts
from curation_assets.engine.context import Context, DeclaredVersions, UndeclaredInput
from curation_assets.engine.graph import STEPS
from curation_assets.engine.planner import targets, wanted_steps
from curation_assets.engine.step import Step
from curation_assets.engine.workspace import BuildOne, MissingInput, Workspace
from curation_assets_tests.making import load, materialize

NOT_READ = {
    "corpus/source": {"corpus.builtin", "corpus.planted"},  # the corpus lies in files
    "evaluation/examples": {"evaluation.instructions"},  # no suite is tuned on any
    "ask_llm_small/model": {"pretraining.seeds"},  # of a rung of the ladder, not of a judge
    "ask_llm_small/scores": {"corpus/embeddings"},  # the better student is a T5 here
    "q_classifier/scores": {
        "samplers.q_classifier"
    },  # the classifier reads them; a sampler's scores declare its settings
    "report/tradeoff": {"samplers.ask_llm_density"},  # which is not among the few
    "report/comparison": {"corpus/index"},  # the page shows which version of the corpus the comparison is of
}
"""What is declared and not read when the small graph is made."""
FEW = [
    *("random", "density", "semdedup", "prototypes", "perplexity_small", "ask_llm_small"),
    *("dsir", "q_classifier", "heuristic", "semdedup_density"),
]


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    monkeypatch.setenv("CURATION_DATA", str(tmp_path))
    return Workspace(load_profile("local"))


def _allowed(look: Callable[[], object]) -> bool:
    """Tell whether a look gets as far as the store, in which there is nothing."""
    with pytest.raises((MissingInput, UndeclaredInput)) as caught:
        look()
    return caught.type is MissingInput


def _in_partition(workspace: Workspace, key: str, partition: str, look: Callable[[Context], object]) -> None:
    """Have a step's builder look at something while it makes a partition."""

    def build(context: Context) -> BuildOne:
        return lambda *_: {"seen": look(context)}

    load(build, workspace, STEPS[key])(partition, workspace.data, lambda *_: None)


def test_an_artifact_that_is_not_declared_is_refused_by_name(workspace: Workspace) -> None:
    context = Context(workspace, STEPS["corpus/tokenizer"])
    for look in (context.open, context.receipt, context.metadata):
        with pytest.raises(
            UndeclaredInput,
            match=r'corpus/tokenizer reads corpus/tokens, .* add "corpus/tokens" to the needs',
        ):
            look("corpus/tokens", "a.jsonl")
    assert _allowed(lambda: context.metadata("corpus/documents", "a.jsonl"))
    assert context.receipt("corpus/documents", "a.jsonl") is None
    with pytest.raises(UndeclaredInput):
        context.listing()


def test_a_partition_that_is_not_read_is_refused(workspace: Workspace) -> None:
    def reads(step: str, partition: str, key: str, of: str) -> bool:
        return _allowed(lambda: _in_partition(workspace, step, partition, lambda c: c.open(key, of)))

    assert reads("random/scores", "a", "corpus/documents", "a")
    assert not reads("random/scores", "a", "corpus/documents", "b")
    assert reads("density/scores", "a", "density/sketch", "")
    assert reads("random/checkpoint", "20|small", "random/subset", "20")
    assert not reads("random/checkpoint", "20|small", "random/subset", "40")
    assert reads("random/checkpoint", "20|small", "corpus/tokens", "whichever"), "it reads all of them"
    assert reads("judge/checkpoint", "xl", "full_data/checkpoint", "xl"), "borrowed: its own size"
    assert not reads("judge/checkpoint", "xl", "full_data/checkpoint", "small")


def test_the_one_partition_that_a_source_names_is_read_and_no_other(workspace: Workspace) -> None:
    scores = Context(workspace, STEPS["perplexity_small/scores"])
    assert not _allowed(lambda: scores.open("full_data/checkpoint", "small"))
    model = scores.through("perplexity_small/model")
    assert _allowed(lambda: model.open("full_data/checkpoint", "small"))
    assert not _allowed(lambda: model.open("full_data/checkpoint", "large"))
    with pytest.raises(UndeclaredInput, match="perplexity_large/model"):
        scores.through("perplexity_large/model")


def test_what_all_partitions_share_is_loaded_before_any_is_asked_for(workspace: Workspace) -> None:
    def of_its_own(context: Context) -> BuildOne:
        context.open("corpus/documents", "a")
        raise AssertionError("it may not")

    with pytest.raises(UndeclaredInput, match="before it is asked for a partition"):
        load(of_its_own, workspace, STEPS["density/scores"])

    def shared(context: Context) -> BuildOne:
        context.open("density/sketch")
        raise AssertionError("there is none")

    with pytest.raises(MissingInput):
        load(shared, workspace, STEPS["density/scores"])


def test_settings_are_seen_as_declared(workspace: Workspace) -> None:
    context = Context(workspace, STEPS["density/scores"])
    assert context.profile.samplers.density is workspace.profile.samplers.density
    assert context.profile.embeddings.batch_tokens == workspace.profile.embeddings.batch_tokens
    assert context.device and context.shards() == []
    with pytest.raises(UndeclaredSetting, match=r"density/scores .* embeddings\.model"):
        _ = context.profile.embeddings.model


def test_a_report_asks_about_what_it_declares(workspace: Workspace) -> None:
    asked = Context(workspace, STEPS["report/correlation"]).versions()
    assert not asked.current("density/scores", "a") and asked.receipt("corpus/index") is None
    assert asked.reasons("density/scores", "a") == ["not made yet"]
    for question in (asked.current, asked.reasons, asked.receipt):
        with pytest.raises(
            UndeclaredInput, match=r"report/correlation asks .* density/subset .* versions_of"
        ):
            question("density/subset", "20")
    with pytest.raises(UndeclaredInput):
        asked.current("corpus/index")


def test_a_workspace_and_a_context_are_both_where_artifacts_are_read(workspace: Workspace) -> None:
    readers: list[Artifacts] = [workspace, Context(workspace, STEPS["corpus/index"])]
    for reader in readers:
        assert reader.partitions("size") == workspace.profile.sizes and reader.scratch == workspace.scratch


class _Recorded:
    """What each step reads, and asks about, while a graph is made."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.read: dict[str, set[str]] = defaultdict(set)
        check, covers, check_asked = Context._check, Declaration.covers, DeclaredVersions._check

        def artifact(context: Context, key: str, partition: str) -> None:
            check(context, key, partition)
            self.read[context._step.key].add(key)

        def setting(declared: Declaration, path: str) -> bool:
            mine = (one for one in declared.paths if path == one or path.startswith(f"{one}."))
            self.read[declared.reader].update(mine)
            return covers(declared, path)

        def asked(versions: DeclaredVersions, key: str) -> None:
            check_asked(versions, key)
            self.read[versions._reader].add(key)

        patch.setattr(Context, "_check", artifact)
        patch.setattr(Declaration, "covers", setting)
        patch.setattr(DeclaredVersions, "_check", asked)


def _make(workspace: Workspace, step: Step) -> None:
    build = next(product.build for product in PRODUCTS if product.key == step.key)
    for partition in targets(workspace, step):
        materialize(workspace, step, partition, lambda inputs: load(build, workspace, step))


@pytest.mark.slow
def test_every_step_reads_what_it_declares(tiny: Profile, monkeypatch: pytest.MonkeyPatch) -> None:
    """The whole graph, with few samplers; what is read undeclared would fail it."""
    labelled = Path(tiny.source).with_name("labels.jsonl")
    rows = enumerate(Path(tiny.corpus.url, "s0.jsonl").read_text("utf-8").splitlines())
    labels = [{"doc_id": json.loads(row)["id"], "label": number % 2} for number, row in rows]
    labelled.write_text("\n".join(map(json.dumps, labels)), "utf-8")
    profile = tiny.model_copy(
        update={
            "labels": tiny.labels.model_copy(update={"url": str(labelled)}),
            "run": tiny.run.model_copy(update={"samplers": FEW}),
            "evaluation": tiny.evaluation.model_copy(update={"decontaminate": True}),
        }
    )
    workspace, recorded = Workspace(profile), _Recorded(monkeypatch)
    made = wanted_steps(profile)
    for step in made:
        _make(workspace, step)
    left = {}
    for step in made:
        declared = {*step.reads(profile), *step.settings, *(one.key for one in step.versions_of)}
        known = {one.key for one in made} | set(step.settings)
        left[step.key] = (declared & known) - recorded.read[step.key] - NOT_READ.get(step.key, set())
    del left[
        "report/page"
    ]  # it asks about what it shows a row of; why that is out of date may lie in any step
    assert {key: sorted(names) for key, names in left.items() if names} == {}
