"""What is current: artifacts compared with what their code, settings and inputs would make now."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any

from curation_assets.common.files import file_states, fingerprint
from curation_assets.engine.graph import STEPS
from curation_assets.engine.step import By, Step, reads_all, upstream
from curation_assets.engine.store import Receipt
from curation_assets.engine.workspace import MissingInput, Workspace, title


class Versions:
    """Versions of artifacts as they stand, each receipt read once: make one, ask it, throw it away."""

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace
        self._receipts: dict[tuple[str, str], Receipt | None] = {}
        self._partitions: dict[By, list[str]] = {}

    def receipt(self, key: str, partition: str) -> Receipt | None:
        """Return an artifact's receipt, or None."""
        at = (key, partition)
        if at not in self._receipts:
            self._receipts[at] = self.workspace.store.receipt(key, partition)
        return self._receipts[at]

    def partitions(self, by: By) -> list[str]:
        """Return all partition keys of a kind."""
        if by not in self._partitions:
            self._partitions[by] = self.workspace.partitions(by)
        return self._partitions[by]

    def inputs(self, step: Step, partition: str) -> dict[str, str]:
        """Return the version of each input; of several partitions, the fingerprint of {partition: version}.

        Raises
        ------
        MissingInput
            When something that the step needs has not been materialized (partial steps need nothing).
        """
        found = {}
        for key, only in step.reads(self.workspace.profile).items():
            need = STEPS[key]
            wanted = upstream(step, partition, need, self.partitions, only)
            receipts = {p: self.receipt(key, p) for p in wanted}
            missing = [p for p, receipt in receipts.items() if receipt is None]
            if (missing or not wanted) and not step.partial:
                what = title(key, missing[0]) if missing else f"{key} (the corpus has no shards)"
                raise MissingInput(
                    f"{title(step.key, partition)} needs {what}, which has not been materialized"
                )
            versions = {p: receipt.version for p, receipt in receipts.items() if receipt is not None}
            several = (only is None and reads_all(step.by, need.by)) or not versions
            found[key] = fingerprint(versions) if several else versions[wanted[0]]
        return found

    def current(self, step: Step, partition: str) -> bool:
        """Tell whether the artifact is there and is what its code, settings and inputs would make now."""
        receipt = self.receipt(step.key, partition)
        if receipt is None:
            return False
        if step.key in _ALWAYS:
            return _ALWAYS[step.key](self, partition, receipt)
        if receipt.code != step.code_version(self.workspace.profile):
            return False
        if step.pinned:
            kept = not self.drifted(step, receipt) and self._pinned_inputs_hold(step, partition, receipt)
            if kept and self.marked(step, partition):
                kept = not self.behind(step, partition)
            return kept and _unchanged_outside(receipt)
        return self._made_so(step, partition, receipt) and _unchanged_outside(receipt)

    def behind(self, step: Step, partition: str) -> bool:
        """Tell whether a pinned artifact is kept although it would be another one, made now."""
        receipt = self.receipt(step.key, partition) if step.pinned else None
        return receipt is not None and not self._made_so(step, partition, receipt)

    def marked(self, step: Step, partition: str) -> bool:
        """Tell whether somebody asked to learn a pinned artifact anew, and it has not been since."""
        asked, receipt = self.refresh_asked.get(title(step.key, partition)), self.receipt(step.key, partition)
        return asked is not None and (receipt is None or asked > receipt.created)

    def _made_so(self, step: Step, partition: str, receipt: Receipt) -> bool:
        try:
            return receipt.recipe == step.recipe(
                self.workspace.profile, self.inputs(step, partition), partition
            )
        except MissingInput:
            return False

    @cached_property
    def refresh_asked(self) -> dict[str, float]:
        """What `Workspace.refresh_asked` gave."""
        return self.workspace.refresh_asked()

    @cached_property
    def listing(self) -> dict[str, dict[str, Any]]:
        """What `Workspace.listing` gave."""
        return self.workspace.listing()

    def wanted(self, step: Step, partition: str) -> str:
        """Return what an attempt at the artifact is an attempt at: a recipe, or what the listing says of a corpus file."""
        if step.key == "corpus/shards":
            return fingerprint(self.listing.get(partition))
        return step.recipe(self.workspace.profile, self.inputs(step, partition), partition)

    def _pinned_inputs_hold(self, step: Step, partition: str, receipt: Receipt) -> bool:
        """Tell whether the pinned artifacts that a pinned one was made from are still the same: only the corpus is let go by."""
        for key, only in step.reads(self.workspace.profile).items():
            need = STEPS[key]
            if need.pinned:
                wanted = upstream(step, partition, need, self.partitions, only)
                found = [self.receipt(key, p) for p in wanted]
                if [r.version if r else None for r in found] != [receipt.inputs.get(key)]:
                    return False
        return True

    def drifted(self, step: Step, receipt: Receipt) -> bool:
        """Tell whether a pinned model that refits by itself (the centroids) has drifted past its limit."""
        if step.key != "clusters/centroids":
            return False
        index = self.receipt("corpus/index", "")
        if index is None:
            return False
        before, now = receipt.metadata["documents"], index.metadata["documents"]
        return abs(now - before) > self.workspace.profile.samplers.clusters.drift * before

    def stale(self, step: Step, partitions: list[str]) -> list[str]:
        """Return those of `partitions` whose artifact is missing or out of date."""
        return [p for p in partitions if not self.current(step, p)]


def _listing_is_current(versions: Versions, partition: str, receipt: Receipt) -> bool:
    return False  # listing the corpus is how a change is noticed: always looked at again


def _shard_is_current(versions: Versions, partition: str, receipt: Receipt) -> bool:
    listed = versions.listing.get(partition)
    return listed is not None and all(
        receipt.metadata.get(k) == listed.get(k) for k in ("url", "bytes", "modified", "leads_to")
    )


def _unchanged_outside(receipt: Receipt) -> bool:
    """Tell whether the files outside the graph that an artifact speaks of still look as they did then."""
    try:
        seen = receipt.metadata.get("seen", {})
        return not seen or file_states(Path(receipt.metadata["place"]), seen) == seen
    except OSError:
        return False


_ALWAYS: dict[str, Callable[[Versions, str, Receipt], bool]] = {
    "corpus/source": _listing_is_current,
    "corpus/shards": _shard_is_current,
}
"""Steps at the edge of the graph, whose inputs are files and not artifacts."""
