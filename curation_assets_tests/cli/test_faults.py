"""Commands x faults: each says in one line on stderr what is wrong and what to do, with the exit status of its kind; and no command a traceback."""

from __future__ import annotations

import os
import random
import re
import resource
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from curation_assets.cli.main import main
from curation_assets.config.profile import load_profile
from curation_assets.defs.instance import dagster_home
from curation_assets.engine.workspace import Workspace
from curation_assets_tests.postgres_server import PASSWORD, PostgresServer
from curation_assets_tests.selection.scored import copied, made

__all__ = ["made"]

ID = "argparse.ArgumentParser"
COMMANDS = {
    "run": ["run", "random/subset", "--partition", "20"],
    "train": ["train", "random/checkpoint", "--partition", "20|small"],
    "plan": ["plan", "--json"],
    "status": ["status", "--json"],
    "trace": ["trace", "density/subset", "--partition", "20", "--json", "-"],
    "explain": ["explain", ID, "--json"],
    "show": ["show", "density/subset", "--partition", "20", "--order", "highest", "--json"],
    "show scores": ["show", "density/scores", "--partition", "s0.jsonl"],
    "diff": ["diff", "density/subset", "random/subset", "--partition", "20", "--json"],
    "select": ["select", "density", "--keep", "20%"],
    "select --to": ["select", "density", "--keep", "20%", "--to", "chosen"],
    "export": ["export", "density/subset", "--partition", "20", "--to", "out"],
    "refresh": ["refresh"],
    "check": ["catalog", "check"],
    "rebuild": ["catalog", "rebuild"],
    "gc": ["gc"],
    "ui": ["ui", "--port", "0"],
}
ASKING = tuple(name for name in COMMANDS if name not in ("run", "train", "ui"))
CATALOG = tuple(name for name in ASKING if name != "rebuild")
"""Those that a damaged catalog stops."""


def _paths(home: Path, pattern: str) -> list[Path]:
    paths = [path for path in sorted(home.glob(pattern)) if path.is_file()]
    assert paths, pattern
    return paths


def _flipped(pattern: str, begin: float = 0.0) -> Callable[[Path], None]:
    """Flip bytes in files, behind `begin` of their length."""

    def damage(home: Path) -> None:
        for path in _paths(home, pattern):
            content, bits = bytearray(path.read_bytes()), random.Random(1)
            for _ in range(400 if path.suffix in (".db", ".sqlite") else 40):
                content[bits.randrange(int(begin * len(content)), len(content))] ^= 0xFF
            path.write_bytes(content)

    return damage


def _filled(pattern: str, content: bytes) -> Callable[[Path], None]:
    def damage(home: Path) -> None:
        for path in _paths(home, pattern):
            path.write_bytes(content)

    return damage


def _a_file(name: str) -> Callable[[Path], None]:
    def damage(home: Path) -> None:
        path = home / name
        shutil.rmtree(path, ignore_errors=True)
        path.write_text("")

    return damage


def _a_folder(name: str) -> Callable[[Path], None]:
    def damage(home: Path) -> None:
        (home / name).unlink()
        (home / name).mkdir()

    return damage


def _gone(pattern: str) -> Callable[[Path], None]:
    def damage(home: Path) -> None:
        for path in _paths(home, pattern):
            path.unlink()

    return damage


SCORES, SUBSET, DOCUMENTS = (
    f"data/artifacts/{key}/*/*/*.parquet" for key in ("density/scores", "*/subset", "corpus/documents")
)
READ_SCORES = ("explain", "show", "show scores", "select", "select --to", "export")
AGAIN = r"changed since it was written; it will be made anew: call `curation run`"
ELSEWHERE = r"the data folder cannot be used: make it one that can be written, or name another"
REBUILD = r"`curation catalog rebuild` makes it anew of what lies in the store"

FAULTS: dict[str, tuple[Callable[[Path], None], tuple[str, ...], int, str]] = {
    "scores, bytes": (_flipped(SCORES), READ_SCORES, 1, rf"density/scores\[s\d\.jsonl\]: \S+ {AGAIN}"),
    "scores, footer": (_flipped(SCORES, 0.9), READ_SCORES, 1, rf"density/scores\[s\d\.jsonl\]: \S+ {AGAIN}"),
    "scores gone": (
        _gone(SCORES),
        ("show scores", "select"),
        1,
        r"density/scores\[s0\.jsonl\] has not been .*`curation run density/scores --partition s0\.jsonl` makes it",
    ),
    "subset, footer": (
        _flipped(SUBSET, 0.9),
        ("explain", "show", "diff", "export"),
        1,
        rf"(density|random)/subset\[\d+\]: subset\.parquet {AGAIN}",
    ),
    "documents, footer": (
        _flipped(DOCUMENTS, 0.9),
        ("explain", "show scores", "diff", "select"),
        1,
        rf"corpus/documents\[s\d\.jsonl\]: documents\.parquet {AGAIN}",
    ),
    "listing": (_flipped("data/artifacts/corpus/source/*/*/shards.json"), ("plan", "select"), 1, AGAIN),
    "catalog": (_filled("data/catalog.sqlite", b"?" * 9000), CATALOG, 2, rf"not a database\): {REBUILD}"),
    "catalog cut off": (
        lambda home: os.truncate(home / "data" / "catalog.sqlite", 3000),
        CATALOG,
        2,
        rf"catalog \S+ is damaged \(.*\): {REBUILD}",
    ),
    "catalog is a folder": (
        _a_folder("data/catalog.sqlite"),
        ASKING,
        2,
        r"make \S+ and what is in it writable",
    ),
    "owner": (_filled("data/profile.json", b"\xff"), ASKING, 2, r"profile\.json is damaged: remove it"),
    "owner is a folder": (_a_folder("data/profile.json"), ASKING, 2, ELSEWHERE),
    "data is a file": (_a_file("data"), tuple(COMMANDS), 2, ELSEWHERE),
    "artifacts is a file": (_a_file("data/artifacts"), ("run", *ASKING), 2, ELSEWHERE),
    "scratch is a file": (_a_file("data/scratch"), ("select --to",), 2, ELSEWHERE),
    "no profile": (
        lambda home: (home / "tiny.toml").unlink(),
        tuple(COMMANDS),
        2,
        "cannot read this profile: No such",
    ),
    "profile is a folder": (
        _a_folder("tiny.toml"),
        tuple(COMMANDS),
        2,
        "cannot read this profile: Is a directory",
    ),
    "dagster.yaml": (
        _filled("data/dagster_home/dagster.yaml", b"a: [1\n"),
        ("run", "train"),
        2,
        r"dagster\.yaml cannot be used \(while parsing .*\): mend it, or remove it and it is written anew",
    ),
    "dagster.yaml's bytes": (
        _filled("data/dagster_home/dagster.yaml", b"\xff\xfe\x00"),
        ("run",),
        2,
        "or remove it",
    ),
    "dagster.yaml's settings": (
        _filled("data/dagster_home/dagster.yaml", b"nonsense: 3\n"),
        ("run",),
        2,
        r'cannot be used \(Received unexpected config entry "nonsense" at the root\.\): mend it, or remove it',
    ),
    "dagster.yaml is a list": (
        _filled("data/dagster_home/dagster.yaml", b"- 3\n"),
        ("run",),
        2,
        "or remove it",
    ),
    "dagster's database": (
        _filled("data/dagster_home/**/*.db", b"?" * 9000),
        ("run", "train"),
        2,
        r"Dagster's database in \S+/dagster_home is damaged \(.*\): move that folder away; artifacts do not depend on it",
    ),
    "dagster's database, bytes": (
        _flipped("data/dagster_home/**/*.db", 0.01),
        ("run",),
        2,
        r"Dagster's database in \S+/dagster_home is damaged \(.*\): move that folder away",
    ),
    "dagster_home is a file": (_a_file("data/dagster_home"), ("run", "train"), 2, ELSEWHERE),
}


@pytest.fixture
def home(made: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data folder with what commands read, in which Dagster was at work."""
    copied(tmp_path / "home", monkeypatch)
    monkeypatch.setenv("CURATION_PROFILE", str(tmp_path / "home" / "tiny.toml"))
    monkeypatch.setenv("DAGSTER_HOME", "")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "home"


def _one_line(told: str) -> str:
    """Return the one line that is said; what a command tells of its progress is none."""
    lines = [line for line in told.splitlines() if not re.match(r"[a-z/_]+: [\d,]+ of [\d,]+ ", line)]
    assert len(lines) == 1 and lines[0].startswith("curation: "), told
    return lines[0]


CELLS = [(fault, command) for fault, (_, commands, _, _) in FAULTS.items() for command in commands]


@pytest.mark.parametrize(("fault", "command"), CELLS, ids=lambda name: name.replace(" ", "_"))
def test_a_fault_is_one_line(
    home: Path, fault: str, command: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    damage, _, status, said = FAULTS[fault]
    if "dagster" in fault:
        _dagster(home)
    damage(home)
    assert main(COMMANDS[command]) == status
    told = capsys.readouterr()
    assert re.search(said, _one_line(told.err)), told.err
    assert not re.search(r"^[^{\[\n]*(Error|Traceback)", told.out), told.out


def _dagster(home: Path) -> None:
    """Have Dagster make its state, as a first run does."""
    import dagster as dg

    folder = dagster_home(load_profile())
    assert folder == home / "data" / "dagster_home"
    with dg.DagsterInstance.get() as instance:
        instance.get_runs_count()
    os.environ["DAGSTER_HOME"] = ""


@contextmanager
def _full() -> Iterator[None]:
    """Let this process write no byte to any file: what a full disk is to it."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("command", ["run", "train", "select --to", "export", "refresh", "rebuild", "gc"])
def test_a_full_disk_is_one_line(home: Path, command: str, capsys: pytest.CaptureFixture[str]) -> None:
    Workspace(load_profile()).catalog.about()
    with _full():
        assert main(COMMANDS[command]) == 2
    assert "free some space; what is finished is kept" in _one_line(capsys.readouterr().err)


ON_POSTGRES = {
    "catalog": ("run", "plan", "status", "select", "gc"),
    "dagster_storage": ("run", "train"),
}
"""Which commands need what a setting of [execution] puts on a server."""


@pytest.mark.process
@pytest.mark.parametrize(
    ("setting", "command"),
    [(name, command) for name, commands in ON_POSTGRES.items() for command in commands],
)
@pytest.mark.parametrize("away", [False, True], ids=["wrong password", "away"])
def test_a_server_that_cannot_be_had_is_one_line(
    home: Path,
    postgres: PostgresServer,
    setting: str,
    command: str,
    away: bool,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("curation_assets.engine.database._FIRST", 0.5)
    monkeypatch.setenv("PGPASSWORD", PASSWORD if away else "wrong")
    driver = "postgresql+psycopg" if setting == "catalog" else "postgresql"
    url, profile = postgres.url(postgres.database(), driver), home / "tiny.toml"
    text = profile.read_text("utf-8")
    profile.write_text(text.replace("[execution]\n", f'[execution]\n{setting} = "{url}"\n'), "utf-8")
    if away:
        postgres.stop()
    try:
        assert main(COMMANDS[command]) == 2
    finally:
        if away:
            postgres.start()
    line = _one_line(capsys.readouterr().err)
    assert ("refused" if away else "authentication failed") in line and PASSWORD not in line
    assert re.search(rf"\): .*execution\.{setting} in the profile", line), line
    assert ("PGPASSWORD" if not away else "start ") in line
