"""The whole graph by workers of this machine, and by those of a Ray cluster of two nodes: the same versions, the same bytes.

    python -m benchmarks.engines

The corpus is that of the tests, the models are tiny; all samplers, trained and evaluated. Prints what differs, and ends
with 1 where something does that is not a report: those show the seconds that artifacts took.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

from curation_assets.config.profile import load_profile
from curation_assets.engine.graph import STEPS
from curation_assets.engine.receipt import Receipt, title
from curation_assets.engine.staleness import At
from curation_assets.engine.workspace import Workspace
from curation_assets_tests.conftest import stdlib_texts, write_tiny
from curation_assets_tests.models.small_models import save_teacher
from curation_assets_tests.ray_nodes import ENVIRONMENT, TwoNodes

_RAY = """
extends = "tiny.toml"
[execution]
engine = "ray"
[execution.ray]
address = "{address}"
"""


def main() -> int:
    """Run both, and compare."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--samplers", default="", help="separated by commas; empty for all")
    options = parser.parse_args()
    os.environ |= ENVIRONMENT
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        teacher = save_teacher(folder / "teacher", [text for _, text in stdlib_texts()])
        chosen = [f'"{sampler}"' for sampler in options.samplers.split(",") if sampler]
        write_tiny(folder, teacher, f"[run]\nsamplers = [{', '.join(chosen)}]\n")
        tiny = folder / "tiny.toml"
        tiny.write_text(
            tiny.read_text("utf-8").replace("workers = 1", 'workers = 2\ndevice = "cpu"'), "utf-8"
        )
        nodes = TwoNodes()
        try:
            (folder / "ray.toml").write_text(_RAY.replace("{address}", nodes.address), "utf-8")
            one, other = (_artifacts(folder, engine) for engine in ("tiny", "ray"))
        finally:
            nodes.shutdown()
    different = [at for at in one.keys() | other.keys() if not _same(one.get(at), other.get(at))]
    count = sum(len(receipt.files) for receipt in one.values())
    size = sum(size for receipt in one.values() for size, _ in receipt.files.values())
    print(f"{len(one):,} artifacts, {count:,} files, {size:,} bytes; {len(different)} artifacts differ")
    for at in sorted(different):
        print(f"  {title(*at)}: {_difference(one.get(at), other.get(at))}")
    return int(any(not key.startswith("report/") for key, _ in different))


def _artifacts(folder: Path, engine: str) -> dict[At, Receipt]:
    """Make everything by an engine; return the receipts of what is current, files compared with their digests."""
    data = folder / f"data-{engine}"
    os.environ |= {
        "CURATION_PROFILE": str(folder / f"{engine}.toml"),
        "CURATION_DATA": str(data),
        "DAGSTER_HOME": str(data / "dagster_home"),
    }
    started = time.perf_counter()
    subprocess.run([sys.executable, "-m", "curation_assets.cli", "run"], check=True)
    print(f"{engine}: {time.perf_counter() - started:.0f} s", flush=True)
    workspace = Workspace(load_profile())
    receipts = {(key, p): receipt for key in STEPS for p, receipt in workspace.receipts(key).items()}
    for receipt in receipts.values():
        workspace.folder(receipt)
    return receipts


def _same(one: Receipt | None, other: Receipt | None) -> bool:
    return one is not None and other is not None and (one.version, one.files) == (other.version, other.files)


def _difference(one: Receipt | None, other: Receipt | None) -> str:
    if one is None or other is None:
        return "made by one engine alone"
    if one.version != other.version:
        return f"version {one.version} and {other.version}"
    return ", ".join(name for name in one.files | other.files if one.files.get(name) != other.files.get(name))


if __name__ == "__main__":
    sys.exit(main())
