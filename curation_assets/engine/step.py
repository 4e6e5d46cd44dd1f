"""A step of the graph: what it is called, what partitions it, what it reads, and how its version follows from that.

A step's version follows from its code and settings and from the versions of what it reads, so that it can be told
without running anything whether an artifact is current.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from json.encoder import encode_basestring_ascii
from typing import Any, Literal

from curation_assets.common.files import canonical, fingerprint, fingerprint_of
from curation_assets.config.paths import identity_at, unset_at
from curation_assets.config.profile import Profile
from curation_assets.engine.borrowed import Borrows, nothing

_HOLE = "\0"  # where a partition's own values go: no version has it
By = Literal["", "shard", "group", "rate", "size", "rate|size"]


@dataclass(frozen=True)
class Step:
    """One asset of the graph.

    Attributes
    ----------
    key : asset key, parts joined by "/".
    by : what partitions it; "" for a single artifact. A "group" is a part of what is made of the whole corpus, in so many parts as
        `execution.groups` says: all of them together are the same for any number.
    needs : asset keys that it reads under every profile.
    borrows : {asset key: partition} that it reads because of a model source in the profile; None for its own partition.
    settings : paths of the settings that its builder reads and that change its content: of fields, tables or whole sections.
        Settings of execution may be read by every step, and are never among them.
    variant : what of a registry's row changes its content.
    versions_of : steps whose code versions count as its own, since it shows what of them is current.
    code : number to raise when the code changes the content.
    pinned : a model learned from the corpus (or its teacher): a change of the corpus leaves it behind but does not remake
        it, a change of a pinned input does, and what depends on it goes by the digest of its content.
    drift : path of the setting by how much the number of documents may move before a pinned model is learned anew, by itself.
    partial : reads what there is of its inputs (reports do), instead of requiring all of it.
    trains : expensive and never automatic.
    placed : by shard, but reads what an unpartitioned artifact has of its shard: equal inputs of two shards make no equal content.
    group, kinds : how Dagster's UI sorts and labels it.
    """

    key: str
    by: By
    needs: tuple[str, ...]
    group: str
    kinds: tuple[str, ...] = ("python",)
    settings: tuple[str, ...] = ()
    variant: str = ""
    versions_of: tuple[Step, ...] = ()
    code: int = 1
    pinned: bool = False
    drift: str = ""
    partial: bool = False
    trains: bool = False
    accelerated: bool = False
    placed: bool = False
    borrows: Borrows = nothing

    def reads(self, profile: Profile) -> dict[str, str | None]:
        """Return {asset key: the one partition that is read, or None for those that follow from `by`}."""
        return dict.fromkeys(self.needs) | self.borrows(profile)

    def identity(self, profile: Profile) -> dict[str, Any]:
        """Return {path: what of the setting changes results} of the settings that it declares."""
        return {path: identity_at(profile, path) for path in self.settings if not unset_at(profile, path)}

    def code_version(self, profile: Profile) -> str:
        """Return the fingerprint of code and identity settings: Dagster's code version."""
        others = {step.key: step.code_version(profile) for step in self.versions_of}
        return fingerprint(self.key, self.code, self.variant, self.identity(profile), others)

    def recipe(self, profile: Profile, inputs: dict[str, str], partition: str) -> str:
        """Return the version that a partition's artifact has when made from inputs of these versions.

        A rate or size says what is made of the inputs, and is part of it. A shard's name is not, unless the step is `placed`:
        what is made of a file follows from its inputs, so that a renamed file's artifacts can be taken over. Nor is a group's:
        what reads groups reads all of them, in whatever number.
        """
        return self.recipe_of(self.code_version(profile), inputs, partition)

    def recipe_of(self, code: str, inputs: dict[str, str], partition: str) -> str:
        """Return what `recipe` does, by the step's code version."""
        return fingerprint(self.key, code, inputs, *([partition] if self.named else []))

    @property
    def named(self) -> bool:
        """Whether the name of a partition is part of its recipe."""
        return self.by not in ("", "group") and (self.by != "shard" or self.placed)

    def learned(self) -> bool:
        """Tell whether it is a model that is kept while the corpus moves on, and learned anew only when asked."""
        return self.pinned and bool(self.needs)


class Recipes:
    """What `Step.recipe_of` gives for very many partitions: what their recipes have in common is written down once.

    Parameters
    ----------
    shared : version of each input that is the same for all.
    own : inputs of which each reads its own.
    """

    def __init__(self, step: Step, code: str, shared: dict[str, str], own: Iterable[str]) -> None:
        inputs = shared | dict.fromkeys(own, _HOLE)
        text = canonical([step.key, code, inputs, *([_HOLE] if step.named else [])])
        self._text, self._named = text.replace("%", "%%").replace(canonical(_HOLE), "%s"), step.named

    def recipe(self, own: Sequence[str], partition: str) -> str:
        """Return a partition's recipe by the versions of its own inputs, in the order of their keys."""
        values = [*own, partition] if self._named else own
        return fingerprint_of(self._text % (*map(encode_basestring_ascii, values),))


EDGE = ("corpus/source", "corpus/shards", "corpus/documents")
"""Steps that look at every listed file. All others leave out shards that could not be read."""


def reads_all(by: By, need: By) -> bool:
    """Tell whether a partition of kind `by` reads every partition of an input of kind `need`, and not just one."""
    return need not in ("", by) and not (by == "rate|size" and need in ("rate", "size"))


def upstream(
    step: Step, partition: str, need: Step, partitions: Callable[[By], list[str]], only: str | None = None
) -> list[str]:
    """Return the partitions of `need` that `step`'s `partition` reads.

    `partitions` lists those of a kind; `only` is the one that `Step.reads` names, if it names one.
    """
    if only is not None:
        return [only]
    if need.by == "":
        return [""]
    if reads_all(step.by, need.by):
        return partitions(need.by)
    return [own_partition(step.by, partition, need.by)]


def own_partition(by: By, partition: str, need: By) -> str:
    """Return the one partition of an input of kind `need` that a partition of kind `by` reads: its own, or its rate or size."""
    if need == by:
        return partition
    rate, size = partition.split("|")
    return rate if need == "rate" else size
