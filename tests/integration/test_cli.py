"""The command line against real stores, and what it says when something is wrong."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path

import polars as pl
import pytest
import redis
from typer.testing import CliRunner

from app import commands
from app.cli import app
from app.embedded.redis import start_redis
from app.release.version import ModelVersion
from app.settings import Settings
from app.stores.postgres.engine import create_engine
from app.stores.postgres.versions import PostgresVersions
from app.types import utc_now


@pytest.fixture
def run(database_url: str, redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setenv("DUOSCENE_DATABASE_URL", database_url)
    monkeypatch.setenv("DUOSCENE_REDIS_URL", redis_url)
    monkeypatch.setenv("DUOSCENE_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("COLUMNS", "200")
    return Run()


class Run:
    def __call__(self, *arguments: str, code: int = 0) -> str:
        result = CliRunner().invoke(app, arguments)
        assert result.exit_code == code, f"{result.output}\n{result.exception!r}"
        return result.output


@pytest.fixture
def small_shop(tmp_path: Path) -> Path:
    """Three items, two users, four events; one price is impossible and one event comes twice."""
    folder = tmp_path / "shop"
    folder.mkdir()
    (folder / "items.csv").write_text(
        "item_id,title,category,price\na,Bread pan,Kitchen > Baking,39.9\nb,Hose,Garden,-5\nc,Lamp,Home,12\n"
    )
    (folder / "users.csv").write_text("user_id,age\nu1,31\nu2,\n")
    (folder / "events.csv").write_text(
        "user_id,item_id,event,timestamp\n"
        "u1,a,click,2026-01-02T10:00:00Z\nu1,a,click,2026-01-02T10:00:00Z\nu2,c,purchase,2026-01-03T10:00:00Z\n"
    )
    return folder


def test_help_is_quick_because_nothing_heavy_is_loaded() -> None:
    program = "import sys, app.cli; print([name for name in ('torch', 'faiss', 'polars', 'sqlalchemy', 'fastapi') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_mistake_is_one_line_and_exit_code_2(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run("import", "/no/such/place", code=2) == "error: /no/such/place: no such file or folder\n"
    assert "expected FIELD=COLUMN" in run("import", "x.csv", "--map", "user_id", code=2)
    assert run("keys", "create", "--scopes", "everything", code=2).startswith("error: unknown scope 'everything'")
    assert run("keys", "revoke", "nobody", code=2).startswith("error: there is no live key 'nobody'")
    monkeypatch.setenv("DUOSCENE_PORTT", "1")
    assert run("keys", "list", code=2) == "error: unknown setting DUOSCENE_PORTT; did you mean DUOSCENE_PORT?\n"


def test_a_place_that_cannot_be_written_is_one_line(
    run: Run, small_shop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("mine")
    place = str(tmp_path / "file" / "there")
    advice = "Not a directory; check rights and free room, or name another place\n"
    for command in ("export", "backup"):
        assert run(command, place, code=2) == f"error: {place} cannot be written: {advice}"
    monkeypatch.setenv("DUOSCENE_DATA_DIR", place)
    assert run("import", str(small_shop), code=2).endswith(f"error: {place}/rejects: {advice}")


@pytest.mark.parametrize(
    ("given", "ignored"),
    [
        ("--compare-scenarios all --html a.html", "--html"),
        ("--compare-scenarios all --dump a.parquet", "--dump"),
        ("--compare-scenarios all --leave-scenario-out all", "--leave-scenario-out"),
        ("--compare-scenarios all --ablate all", "--ablate"),
        ("--leave-scenario-out all --html a.html", "--html"),
        ("--leave-scenario-out all --models ease", "--models"),
        ("--ablate fusion --dump a.parquet", "--dump"),
        ("--ablate fusion --models ease", "--models"),
        ("--ablate fusion --seeds 1", "--seeds"),
        ("--ablate fusion,text --max-users 9", "--max-users"),
    ],
)
def test_an_option_that_a_study_ignores_is_a_mistake(run: Run, given: str, ignored: str) -> None:
    said = run("evaluate", "--data", "/no/such/place", "--protocol", "loo", *given.split(), code=2)
    assert said.startswith(f"error: {ignored} does nothing with {given.split()[0]}")


@pytest.mark.parametrize("study", ["--compare-scenarios", "--leave-scenario-out", "--ablate"])
def test_a_study_looks_first_whether_its_report_can_be_written(run: Run, study: str) -> None:
    options = ("--protocol", "loo", study, "all", "--json", "/no/such/folder/a.json")
    assert "a.json cannot be written" in run("evaluate", "--data", "/no/such/place", *options, code=2)


def test_a_key_is_shown_once_listed_and_revoked(run: Run) -> None:
    created = run("keys", "create", "--scopes", "recommend, feedback", "--name", "shop front")
    key_id, secret = re.search(r"id +(\S+)", created)[1], re.search(r"key +(dsk_\S+)", created)[1]  # type: ignore[index]
    listed = run("keys", "list")
    assert key_id in listed
    assert "shop front" in listed
    assert secret not in listed
    run("keys", "revoke", key_id)
    assert "there is no live key" in run("keys", "revoke", key_id, code=2)


def test_import_reports_and_export_gives_the_same_back(run: Run, small_shop: Path, tmp_path: Path) -> None:
    assert "Nothing was written" in run("import", str(small_shop), "--dry-run")
    said = run("import", str(small_shop))
    assert "price impossible" in said
    assert re.search(r"items +│ +3", said)
    run("export", str(tmp_path / "out"))
    items = pl.read_parquet(tmp_path / "out" / "items.parquet").sort("item_id")
    assert items.select("item_id", "title", "category", "price").rows() == [
        ("a", "Bread pan", "Kitchen > Baking", 39.9), ("b", "Hose", "Garden", None), ("c", "Lamp", "Home", 12.0),
    ]  # fmt: skip
    assert len(pl.read_parquet(tmp_path / "out" / "events.parquet")) == 2
    assert "not an empty folder" in run("export", str(tmp_path / "out"), code=2)
    assert re.search(r"events already there +│ +2", run("import", str(small_shop)))
    again = run("import", str(tmp_path / "out"))
    assert re.search(r"events +│ +0", again)


def test_an_import_waits_for_redis_and_says_when_it_does_not_answer(
    run: Run, small_shop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = start_redis(tmp_path / "redis")
    try:
        monkeypatch.setenv("DUOSCENE_REDIS_URL", server.url)
        with redis.Redis.from_url(server.url) as client:
            client.set("duoscene:valid:2", client.info("server")["run_id"])
            os.kill(server.pid, signal.SIGSTOP)
            monkeypatch.setattr(commands, "SETTLE_SECONDS", 0.5)
            assert "Redis does not answer" in run("import", str(small_shop))
            monkeypatch.setattr(commands, "SETTLE_SECONDS", 60.0)
            threading.Timer(3.0, os.kill, (server.pid, signal.SIGCONT)).start()
            assert "Redis does not answer" not in run("import", str(small_shop))
    finally:
        os.kill(server.pid, signal.SIGCONT)
        server.stop()


def test_rejected_rows_are_kept_in_a_file(run: Run, small_shop: Path) -> None:
    said = " ".join(run("import", str(small_shop)).split())
    path = Path(re.search(r"rejected rows: (\S+)", said)[1])  # type: ignore[index]
    assert pl.read_ndjson(path)["rule"].to_list() == ["duplicate: equal in every column"]


def test_doctor_says_what_is_missing_and_what_to_do(run: Run) -> None:
    said = run("doctor")
    for advice in ("import some: duoscene import PATH", "train one: duoscene train", "make one: duoscene keys create"):
        assert advice in said


def test_doctor_names_a_database_that_does_not_answer(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DUOSCENE_DATABASE_URL", "postgresql://someone:word@127.0.0.1:1/none")
    said = run("doctor", code=1)
    assert "cannot be reached" in said
    assert "check DUOSCENE_DATABASE_URL" in said


def test_doctor_names_an_artifact_store_that_does_not_answer(
    run: Run, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def make_live() -> None:
        engine = create_engine(database_url)
        versions = PostgresVersions(engine)
        await versions.add(ModelVersion("v1", utc_now(), "full"))
        await versions.activate("v1")
        await engine.dispose()

    asyncio.run(make_live())
    monkeypatch.setenv("DUOSCENE_ARTIFACT_URL", "ftp://127.0.0.1:1/models")
    said = run("doctor", code=1)
    assert "check DUOSCENE_ARTIFACT_URL" in said
    assert "PostgreSQL and Redis" not in said


def test_doctor_lists_every_setting_without_secrets(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DUOSCENE_ADMIN_KEY", "a-very-secret-admin-key")
    monkeypatch.setenv("DUOSCENE_DATABASE_URL", "postgresql://someone:word@host/none")
    said = run("doctor", "--settings")
    assert all(f"DUOSCENE_{name.upper()}" in said for name in Settings.model_fields)
    assert "a-very-secret-admin-key" not in said
    assert "someone:word" not in said
