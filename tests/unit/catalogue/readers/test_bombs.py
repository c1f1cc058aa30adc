"""Small files that would unpack to more than memory holds are refused before they are unpacked."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import resource
import zipfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from app.catalogue.loading import import_path
from app.catalogue.readers.table import memory_bytes
from app.errors import BadData

ZEROS = b"\n" * (64 << 20)


def zipped(content: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("items.csv", content)
    return file.getvalue()


@pytest.mark.parametrize("name", ["items.csv", "items.jsonl", "items.tsv", "items.parquet"])
@pytest.mark.parametrize("pack", [gzip.compress, zipped, bz2.compress, lzma.compress])
def test_an_archive_is_no_table_whatever_its_name(tmp_path: Path, name: str, pack: object) -> None:
    (tmp_path / name).write_bytes(pack(ZEROS))  # type: ignore[operator]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(BadData, match=r"compressed|cannot be read"):
        import_path(tmp_path)
    grown_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown_kib < len(ZEROS) / 1024 / 2, "it was unpacked"


@pytest.mark.parametrize("name", ["shop.zip", "shop.csv.gz", "shop.parquet.zst"])
def test_archives_are_not_looked_into(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(zipped(ZEROS))
    with pytest.raises(BadData):
        import_path(tmp_path / name)


def test_a_parquet_file_of_endless_equal_rows_is_refused_by_what_it_says_of_itself(tmp_path: Path) -> None:
    """Run-length encoded, a million equal rows take some hundred bytes; the row groups are repeated until they are too many."""
    path = tmp_path / "items.parquet"
    group = pa.table({"item_id": pa.DictionaryArray.from_arrays(pa.array([0] * 1_000_000, pa.int32()), ["x"])})
    num_groups = int(memory_bytes() * 0.5 / 16 / 1_000_000) + 1
    with pq.ParquetWriter(path, group.schema) as writer:
        for _ in range(num_groups):
            writer.write_table(group)
    assert path.stat().st_size < 20 << 20
    with pytest.raises(BadData, match="split the file"):
        import_path(path)
