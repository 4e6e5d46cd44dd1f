"""What a worker does with a task, whichever process it is."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from curation_assets.common.allocator import keep_freed_memory, release_device_memory
from curation_assets.common.files import fingerprint
from curation_assets.common.progress import Line, Progress, Throttled
from curation_assets.engine.check_result import verdict
from curation_assets.engine.context import LoadedBuilder, shared_inputs
from curation_assets.engine.executors import Check, Checked, Damage, Ended, Failed, Made, Make, Message, Task
from curation_assets.engine.graph import STEPS
from curation_assets.engine.materialize import materialize
from curation_assets.engine.product import Product
from curation_assets.engine.receipt import title
from curation_assets.engine.resolved import ResolvedWorkspace
from curation_assets.engine.snapshot import Snapshot
from curation_assets.engine.staleness import Versions
from curation_assets.engine.step import Step
from curation_assets.engine.store import DamagedArtifact
from curation_assets.engine.workspace import Metadata, MissingInput, Workspace

Tell = Callable[[Line], object]
_LOCK = ".accelerator.lock"
_REMEDIES = {
    "OutOfMemoryError": "; to have less on the device at a time, set batch_tokens of the section that the step reads, or pretraining.micro_batch_size"
}
"""What helps against an error of this kind, where it does not say so."""


class Worker:
    """Carries out tasks in this process, one after the other.

    Parameters
    ----------
    products : name of the module that says how artifacts are made (`PRODUCTS`) and checked (`CHECKS`, `CHECKED_WITH`); it
        is imported with the first task.
    tell : hears the lines of progress while a task goes on.
    device_of_its_own : nobody else works on its accelerator, or who does was meant to.
    """

    def __init__(
        self, workspace: Workspace, products: str, tell: Tell, *, device_of_its_own: bool = False
    ) -> None:
        self._workspace, self._module, self._tell = workspace, products, tell
        self._device_of_its_own = device_of_its_own
        self._loaded: tuple[str, LoadedBuilder] | None = None
        keep_freed_memory()

    def carry_out(self, task: Task) -> Iterator[Message]:
        """Yield what comes of a task, each as it happens."""
        yield from self._make(task) if isinstance(task, Make) else self._check(task)
        yield Ended(task)

    def _make(self, task: Make) -> Iterator[Message]:
        step, workspace = STEPS[task.key], self._workspace
        if task.inputs is not None:
            workspace = ResolvedWorkspace(workspace, task.inputs)
        versions = Versions(workspace)
        if task.inputs is None:
            workspace = Snapshot(versions)
        build_one = partial(self._build_one, workspace, step)
        for partition in task.partitions:
            tell = self._teller(step, partition)
            progress = Throttled(tell, title(step.key, partition))
            try:
                receipt = materialize(versions, step, partition, build_one, progress, task.run_id)
            except Exception as error:
                missing, kind = isinstance(error, MissingInput), type(error).__name__
                damaged = Damage(error.receipt, error.problem) if isinstance(error, DamagedArtifact) else None
                trace = "" if missing else traceback.format_exc()  # what is missing says all by itself
                reason = (str(error) or kind) + _REMEDIES.get(kind, "")
                yield Failed(step.key, partition, reason, kind, trace, missing, damaged)
            else:
                yield Made(step.key, receipt)
            finally:
                workspace.hold.release()

    def _teller(self, step: Step, partition: str) -> Callable[[str], None]:
        def tell(line: str) -> None:
            self._tell(Line.about(line, (step.key,), (partition,), "during"))

        return tell

    def _build_one(
        self, workspace: Workspace, step: Step, partition: str, folder: Path, progress: Progress
    ) -> Metadata:
        """Build one partition, with the accelerator for itself where its step uses one."""
        with self._accelerator(step, partition):
            return self._load(workspace, step)(partition, folder, progress, workspace)

    def _load(self, workspace: Workspace, step: Step) -> LoadedBuilder:
        """Return what builds a partition: loaded with the first one, kept until what all share changes or another step comes."""
        shared = shared_inputs(step, workspace.profile)
        versions = {key: {p: r.version for p, r in workspace.receipts(key).items()} for key in shared}
        version = fingerprint(step.key, versions)
        if self._loaded is None or self._loaded[0] != version:
            if self._loaded is not None:
                self._loaded[1].close()
            self._loaded = None  # the last one's model goes before the next one comes
            release_device_memory()
            self._loaded = version, LoadedBuilder(self._products[step.key].build, workspace, step)
        return self._loaded[1]

    @property
    def _products(self) -> dict[str, Product]:
        return {product.key: product for product in import_module(self._module).PRODUCTS}

    def _accelerator(self, step: Step, partition: str) -> AbstractContextManager[Any]:
        """Keep the accelerator for one artifact at a time, of all processes and runs on this data; nothing where there is none."""
        if not step.accelerated or self._device_of_its_own or self._workspace.device == "cpu":
            return nullcontext()
        lock = FileLock(self._workspace.data / _LOCK)
        try:
            return lock.acquire(timeout=0)
        except Timeout:
            self._teller(step, partition)(
                f"{title(step.key, partition)}: waits for the accelerator, which another process uses"
            )
            return lock.acquire()

    def _check(self, task: Check) -> Iterator[Message]:
        module, workspace = import_module(self._module), Snapshot(Versions(self._workspace))
        for key in (task.key, *module.CHECKED_WITH.get(task.key, ())):
            for name, check in module.CHECKS.get(key, {}).items():
                yield Checked(key, name, verdict(check, workspace))
        workspace.hold.release()
