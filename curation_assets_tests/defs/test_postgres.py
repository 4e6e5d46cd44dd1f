"""Dagster's runs and events on a real Postgres: a graph, a restart in the middle of it, and what is said where it cannot be."""

from __future__ import annotations

import gc
from collections.abc import Callable
from pathlib import Path

import pytest
from dagster_postgres.utils import retry_pg_connection_fn

from curation_assets.config.profile import Profile, ProfileError, load_profile
from curation_assets.defs.instance import dagster_home, instance_for
from curation_assets.defs.run_graph import run_graph
from curation_assets.engine.errors import one_line
from curation_assets.engine.graph import STEPS
from curation_assets_tests.conftest import work_in
from curation_assets_tests.postgres_server import PASSWORD, PostgresServer

pytestmark = pytest.mark.graph

ASKED = ["corpus/source", "corpus/shards", "corpus/documents", "random/scores"]


@pytest.fixture
def server(postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch) -> PostgresServer:
    """The server, with its password where Postgres's clients look for it."""
    monkeypatch.setenv("PGPASSWORD", PASSWORD)
    return postgres


@pytest.fixture
def on_postgres(
    server: PostgresServer, tiny: Profile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[Profile, str]:
    """The small corpus's profile with Dagster's state in a database of its own, and that database's name."""
    name = server.database()
    url = server.url(name, "postgresql")
    (tmp_path / "pg.toml").write_text(
        f'extends = "tiny.toml"\nname = "tiny"\n[execution]\ndagster_storage = "{url}"\n'
    )
    return work_in(tmp_path, monkeypatch, "pg.toml"), name


def _run(profile: Profile, tell: Callable[[str], object] = lambda line: None) -> dict[str, int]:
    outcome = run_graph(profile, tell, [STEPS[key] for key in ASKED])
    assert not outcome.failed
    return outcome.made


def test_a_run_and_its_events_are_in_postgres_and_a_restart_in_the_middle_of_it_is_survived(
    on_postgres: tuple[Profile, str], server: PostgresServer
) -> None:
    profile, database = on_postgres
    restarts = []

    def restart(line: str) -> None:
        if "random/scores" in line and not restarts:
            restarts.append(line)
            server.stop()
            server.start()

    made = _run(profile, restart)
    assert restarts and set(made) == set(ASKED) - {"corpus/source"}
    ((runs, status),) = server.execute("SELECT count(*), min(status) FROM runs", database)
    assert (runs, status) == (1, "SUCCESS")
    query = "SELECT count(*) FROM event_logs WHERE dagster_event_type = 'ASSET_MATERIALIZATION'"
    assert server.execute(query, database) == [(sum(made.values()) + 1,)]
    assert not list((dagster_home(profile) / "history").glob("*.db")), "nothing of it is in SQLite"
    assert not _run(profile)


def test_a_server_that_is_away_for_longer_ends_the_run_in_one_line_and_the_next_run_continues(
    on_postgres: tuple[Profile, str],
    server: PostgresServer,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    profile, database = on_postgres
    monkeypatch.setattr(retry_pg_connection_fn, "__defaults__", (1, 0.1))  # six seconds, at each event

    def stop(line: str) -> None:
        if line.startswith("--- random/scores"):
            server.stop()

    try:
        with pytest.raises(Exception) as caught:
            _run(profile, stop)
    finally:
        server.start()
    line = one_line(caught.value, profile.data)
    assert line is not None and line.count("\n") == 0
    assert line.startswith("Dagster's database cannot be reached (connection to server at")
    assert PASSWORD not in line + capfd.readouterr().err
    del caught
    gc.collect()  # the run, which ends with its process otherwise: it holds what it was at
    again = _run(profile)
    assert set(again) == {"random/scores"}, "what was committed before is not made again"
    query = (
        "SELECT partition FROM event_logs WHERE dagster_event_type = 'ASSET_MATERIALIZATION' "
        """AND asset_key = '["random", "scores"]' ORDER BY partition"""
    )
    told = [partition for (partition,) in server.execute(query, database)]
    assert told == ["s0.jsonl", "s1.jsonl", "s2.jsonl"], "also of what was committed and could not be told"


def test_a_wrong_password_and_a_server_that_is_away_are_one_line_at_once(
    on_postgres: tuple[Profile, str], server: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    profile, _ = on_postgres
    for password, stopped, said in (("wrong", False, "authentication failed"), (PASSWORD, True, "refused")):
        monkeypatch.setenv("PGPASSWORD", password)
        if stopped:
            server.stop()
        try:
            with pytest.raises(Exception) as caught, instance_for(profile):
                pass
        finally:
            if stopped:
                server.start()
        line = one_line(caught.value, profile.data)
        assert line is not None and said in line and "\n" not in line


def test_the_profile_says_the_storage_and_the_rest_of_dagster_yaml_stays(
    tiny: Profile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = dagster_home(tiny) / "dagster.yaml"
    settings.write_text("telemetry: {enabled: false}  # mine\n")
    before = settings.read_text()
    for url in ("postgresql://me@one/dagster", "postgresql+psycopg://me@two:5433/dagster"):
        (tmp_path / "pg.toml").write_text(
            f'extends = "tiny.toml"\nname = "tiny"\n[execution]\ndagster_storage = "{url}"\n'
        )
        dagster_home(load_profile(tmp_path / "pg.toml"))
        assert settings.read_text().startswith(before)
        assert settings.read_text().count("postgres_url") == 1
    assert "postgresql+psycopg2://me@two:5433/dagster" in settings.read_text()
    dagster_home(tiny)
    assert settings.read_text() == before
    settings.write_text("storage: {sqlite: {base_dir: /tmp}}\n")
    with pytest.raises(ProfileError, match="names a storage itself"):
        dagster_home(load_profile(tmp_path / "pg.toml"))


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("postgresql://me:secret@host/db", "leave the password out"),
        ("postgresql://me@host/db?password=secret", "leave the password out"),
        ("mysql://me@host/db", "expected postgresql://"),
    ],
)
@pytest.mark.parametrize("setting", ["dagster_storage", "catalog"])
def test_a_password_in_a_profile_is_refused_and_not_repeated(
    tmp_path: Path, setting: str, url: str, said: str
) -> None:
    (tmp_path / "p.toml").write_text(f'[execution]\n{setting} = "{url}"\n')
    with pytest.raises(ProfileError, match=said) as caught:
        load_profile(tmp_path / "p.toml")
    assert "secret" not in str(caught.value)
