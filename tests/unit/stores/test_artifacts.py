"""Artifacts: complete or absent, never overwritten, the same for a folder and for an object store (fsspec's in memory)."""

from __future__ import annotations

import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import fsspec
import pytest
from fsspec.implementations.dirfs import DirFileSystem

from app.errors import BadArtifact, BadSettings, Conflict
from app.release.version import ArtifactStore
from app.stores.artifacts import LocalArtifacts, RemoteArtifacts, inside, open_artifacts


@pytest.fixture(params=["folder", "file url", "object store"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> ArtifactStore:
    root = tmp_path / "models with space"
    url = {"folder": str(root), "file url": f"file://{root}", "object store": f"memory://{uuid.uuid4().hex}/models"}
    return open_artifacts(url[request.param], tmp_path / "cache")


@pytest.fixture
def artifact(tmp_path: Path) -> Path:
    directory = tmp_path / "work"
    (directory / "index").mkdir(parents=True)
    (directory / "manifest.json").write_text("{}")
    (directory / "index" / "rows.bin").write_bytes(b"\0\1")
    return directory


def contents(directory: Path) -> dict[str, bytes]:
    return {
        path.relative_to(directory).as_posix(): path.read_bytes() for path in directory.rglob("*") if path.is_file()
    }


def test_what_was_published_is_fetched(store: ArtifactStore, artifact: Path) -> None:
    store.publish(artifact, "2026-01-31T12-00-00Z-ab12")
    fetched = store.fetch("2026-01-31T12-00-00Z-ab12")
    assert contents(fetched) == contents(artifact)
    assert store.fetch("2026-01-31T12-00-00Z-ab12") == fetched


def test_a_version_is_never_overwritten(store: ArtifactStore, artifact: Path) -> None:
    store.publish(artifact, "v1")
    (artifact / "manifest.json").write_text("changed")
    with pytest.raises(Conflict):
        store.publish(artifact, "v1")
    assert (store.fetch("v1") / "manifest.json").read_text() == "{}"


@pytest.mark.parametrize("version", ["none", "", "..", "a/b", "../work", ".hidden"])
def test_what_is_not_there_is_a_bad_artifact(store: ArtifactStore, artifact: Path, version: str) -> None:
    store.publish(artifact, "v1")
    with pytest.raises(BadArtifact):
        store.fetch(version)


def test_an_unfinished_upload_is_not_there_and_can_be_repeated(artifact: Path, tmp_path: Path) -> None:
    root = f"{uuid.uuid4().hex}/models"
    fsspec.filesystem("memory").pipe_file(f"/{root}/v1/index/rows.bin", b"half")
    store = open_artifacts(f"memory://{root}", tmp_path / "cache")
    with pytest.raises(BadArtifact):
        store.fetch("v1")
    store.publish(artifact, "v1")
    assert contents(store.fetch("v1")) == contents(artifact)


def test_many_processes_fetch_at_once(artifact: Path, tmp_path: Path) -> None:
    """Over files, as readers of fsspec's memory store share one position in a file."""
    bucket = DirFileSystem(str(tmp_path / "bucket"), fsspec.filesystem("file", auto_mkdir=True))

    def open_one() -> RemoteArtifacts:
        return RemoteArtifacts(bucket, "models", LocalArtifacts(tmp_path / "cache"))

    open_one().publish(artifact, "v1")
    with ThreadPoolExecutor(8) as pool:
        fetched = list(pool.map(lambda _: open_one().fetch("v1"), range(8)))
    assert len(set(fetched)) == 1
    assert contents(fetched[0]) == contents(artifact)
    assert [path.name for path in (tmp_path / "cache").iterdir()] == ["v1"]


def test_an_unknown_scheme_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadSettings, match="DUOSCENE_ARTIFACT_URL"):
        open_artifacts("nosuch://bucket", tmp_path)


@pytest.mark.parametrize("name", ["../stolen.txt", "a/../../stolen.txt", "..\\stolen.txt", "/stolen.txt", "a//b", ""])
def test_a_file_name_of_a_store_never_leads_out_of_the_artifact(tmp_path: Path, name: str) -> None:
    with pytest.raises(BadArtifact):
        inside(tmp_path, name)
    assert inside(tmp_path, "index/rows.bin") == tmp_path / "index" / "rows.bin"
