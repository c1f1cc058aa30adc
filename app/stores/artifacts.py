"""Model artifacts: immutable directories by version, in a local folder or at any fsspec url."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
from fsspec.implementations.local import LocalFileSystem

from app.errors import BadArtifact, BadSettings, Conflict, Unavailable

MANIFEST = "manifest.json"  # written last, so that what has one is complete


def open_artifacts(url: str, cache_dir: Path) -> LocalArtifacts | RemoteArtifacts:
    """url: a path, file://… or any url that fsspec knows. cache_dir: where remote versions are kept once fetched.

    Raises BadSettings for a url that fsspec cannot use, Unavailable where a filesystem connects at once and nobody answers.
    """
    try:
        with store_errors():
            filesystem, path = fsspec.core.url_to_fs(url)
    except (ImportError, ValueError) as error:
        raise BadSettings(f"DUOSCENE_ARTIFACT_URL cannot be used: {error}") from error
    if isinstance(filesystem, LocalFileSystem):
        return LocalArtifacts(Path(path))
    return RemoteArtifacts(filesystem, path.rstrip("/"), LocalArtifacts(cache_dir))


class LocalArtifacts:
    """Every process of the machine reads the same files."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def publish(self, directory: Path, version: str) -> None:
        """Complete or not at all: copied beside its place, then renamed. Raises Conflict for a version that is there."""
        place = self.place(version)
        with self.unfinished() as copy:
            copy_files(directory, copy)
            move_into_place(copy, place)

    def fetch(self, version: str) -> Path:
        place = self.place(version)
        if not (place / MANIFEST).is_file():
            raise missing(version)
        return place

    @contextlib.contextmanager
    def unfinished(self) -> Iterator[Path]:
        """An empty directory on the same disk, gone at the end unless renamed."""
        self._root.mkdir(parents=True, exist_ok=True)
        directory = Path(tempfile.mkdtemp(prefix=".unfinished-", dir=self._root))
        directory.chmod(0o755)  # mkdtemp makes it private; other users' processes read artifacts too
        try:
            yield directory
        finally:
            shutil.rmtree(directory, ignore_errors=True)

    def place(self, version: str) -> Path:
        return self._root / checked(version)


class RemoteArtifacts:
    """An object store behind a local cache, which is an artifact folder itself."""

    def __init__(self, filesystem: Any, root: str, cache: LocalArtifacts) -> None:
        self._filesystem = filesystem
        self._root = root
        self._cache = cache

    def publish(self, directory: Path, version: str) -> None:
        """The manifest goes last. Raises Conflict for a version that is there, Unavailable when the store fails."""
        target = f"{self._root}/{checked(version)}"
        files = sorted(path for path in directory.rglob("*") if path.is_file())
        files.sort(key=lambda path: path == directory / MANIFEST)
        with store_errors():
            if self._filesystem.exists(f"{target}/{MANIFEST}"):
                raise taken(version)
            for path in files:
                there = f"{target}/{path.relative_to(directory).as_posix()}"
                self._filesystem.makedirs(there.rpartition("/")[0], exist_ok=True)
                self._filesystem.put_file(str(path), there)

    def fetch(self, version: str) -> Path:
        with contextlib.suppress(BadArtifact):
            return self._cache.fetch(version)
        source = self._filesystem._strip_protocol(f"{self._root}/{checked(version)}")
        with store_errors():
            if not self._filesystem.exists(f"{source}/{MANIFEST}"):
                raise missing(version)
            with self._cache.unfinished() as copy:
                for there in self._filesystem.find(source):
                    here = inside(copy, there.removeprefix(f"{source}/"))
                    here.parent.mkdir(parents=True, exist_ok=True)
                    self._filesystem.get_file(there, str(here))
                with contextlib.suppress(Conflict):  # another process fetched it meanwhile
                    move_into_place(copy, self._cache.place(version))
        return self._cache.fetch(version)


def copy_files(directory: Path, copy: Path) -> None:
    """As shutil.copytree does, but the first error is raised as it is: a full disk should be told from anything else."""
    for path in sorted(directory.rglob("*")):
        place = copy / path.relative_to(directory)
        if path.is_dir():
            place.mkdir()
        else:
            shutil.copy2(path, place)


def move_into_place(directory: Path, place: Path) -> None:
    """rename(2) refuses to replace a directory that has files: whoever comes second gets Conflict."""
    try:
        directory.rename(place)
    except OSError as error:
        if place.exists():
            raise taken(place.name) from error
        raise


@contextlib.contextmanager
def store_errors() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise Unavailable(f"the artifact store failed: {type(error).__name__}", code="store_unavailable") from error


def checked(version: str) -> str:
    if not version or version.startswith(".") or "/" in version or "\\" in version or "\0" in version:
        raise missing(version)
    return version


def inside(directory: Path, name: str) -> Path:
    """A store holds any name; one that leads out of the directory is not followed."""
    parts = name.split("/")
    if name.startswith("/") or "\\" in name or ".." in parts or "" in parts:
        raise BadArtifact(f"the artifact holds a file with the name {name[:100]!r}, which is no place inside it")
    return directory.joinpath(*parts)


def missing(version: str) -> BadArtifact:
    return BadArtifact(f"there is no complete artifact of model version {version!r}")


def taken(version: str) -> Conflict:
    return Conflict(f"model version {version!r} exists; versions are never overwritten", code="version_exists")
