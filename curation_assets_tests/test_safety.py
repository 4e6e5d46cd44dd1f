"""Nothing in the product unpickles, runs code of others or hands a shell a string."""

from __future__ import annotations

import re
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1] / "curation_assets"
FORBIDDEN = re.compile(
    r"^\s*(?!from pickle import UnpicklingError$)(import|from) (pickle|dill|joblib|marshal|shelve)\b|trust_remote_code=True|allow_pickle=True"
    r"|shell=True|os\.system\(|torch\.load\((?!.*weights_only=True)",
    re.MULTILINE,
)


def test_nothing_unpickles_or_runs_foreign_code() -> None:
    found = {str(path): FORBIDDEN.findall(path.read_text("utf-8")) for path in PACKAGE.rglob("*.py")}
    assert len(found) > 100 and not {path: what for path, what in found.items() if what}


def test_it_would_be_found() -> None:
    for line in ("import pickle", "    from joblib import load", "torch.load(path)", "run(x, shell=True)"):
        assert FORBIDDEN.search(line)
    assert not FORBIDDEN.search("import pickled\nweights.torch_load(path)")
    assert not FORBIDDEN.search("from pickle import UnpicklingError\ntorch.load(path, weights_only=True)")
