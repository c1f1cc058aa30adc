"""Nonsense in every body the service reads: never a 5xx, and no memory stays behind."""

from __future__ import annotations

import json
import random
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.benchmarks.proc import memory
from app.main import create_app
from tests.conftest import Servers
from tests.integration.http.conftest import Service, run_service

ROUNDS = 3  # after the first, in which pools and caches fill
GROWTH_MIB = 24.0  # a leak of one body in a hundred would be more
MIB = 1 << 20
STEADY_LOOKS = 6
WITH_BODY = [
    (operation["operationId"], method, re.sub(r"\{\w+\}", "fuzzed", path), media, content.get("example"))
    for path, operations in create_app().openapi()["paths"].items()
    for method, operation in operations.items()
    for media, content in operation.get("requestBody", {}).get("content", {}).items()
]


def bodies(draw: random.Random, example: Any) -> Iterator[bytes]:
    whole = (example if isinstance(example, str) else json.dumps(example or {"scenario": "home"})).encode()
    yield b""
    yield draw.randbytes(2_000)
    yield b"\xef\xbb\xbf" + whole
    yield whole[: draw.randrange(len(whole))]
    for _ in range(4):  # a byte of a good body changed
        place = draw.randrange(len(whole))
        yield whole[:place] + draw.randbytes(1) + whole[place + 1 :]
    yield b"[" * 100_000
    yield b'{"a":' * 50_000 + b"1" + b"}" * 50_000
    yield b'{"n": ' + b"9" * 100_000 + b"}"
    yield b'{"n": 1e999999, "m": -1e-999999, "value": 1e308, "price": -0.0}'
    yield b'{"user_id": "\\ud800", "\\udfff": "\\ud83d", "scenario": "\\u0000"}'
    yield json.dumps({f"field_{n}": n for n in range(10_000)}).encode()
    yield b'{"scenario": "' + b"x" * (MIB - 100) + b'"}'
    yield b"[" + b"null," * 100_000 + b"null]"
    yield b"\n".join([whole] * 3)
    yield json.dumps(nested_values(draw, 6)).encode()
    if isinstance(example, dict):
        for name in example:  # each field in turn is something else
            for value in (None, True, -1, 10**30, "", "\0", [], [[]], {}, {"": {}}, ["x"] * 2_000):
                yield json.dumps({**example, name: value}).encode()


def nested_values(draw: random.Random, depth: int) -> Any:
    if depth == 0:
        return draw.choice([None, True, 0, -1.5, "", "x" * 300, "\u202e", 10**20])
    if draw.random() < 0.5:
        return [nested_values(draw, depth - 1) for _ in range(3)]
    return {
        draw.choice(("scenario", "filter", "and", "events", "user", "n")): nested_values(draw, depth - 1)
        for _ in range(3)
    }


@pytest.fixture(scope="module")
def fuzzed(servers: Servers, template_database: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service of its own: what of the nonsense is accepted shall disturb no other test."""
    with run_service(servers, template_database, tmp_path_factory.mktemp("fuzz")) as service:
        yield service


def test_nonsense_is_refused_and_leaves_nothing_behind(fuzzed: Service) -> None:
    with fuzzed.client() as client:
        fuzz(client, random.Random(0))
        before = settled_memory(fuzzed.process.pid)
        for number in range(1, ROUNDS + 1):
            fuzz(client, random.Random(number))
        after = memory(fuzzed.process.pid).own
        print(f"\nown memory {before:.0f} MiB after one round, {after:.0f} MiB after {ROUNDS + 1}")
        assert after - before < GROWTH_MIB
        assert client.get("/healthz").status_code == 200
    assert b"request_failed" not in fuzzed.log.read_bytes()


def settled_memory(pid: int) -> float:
    """MiB, once the encoder is there, which is read beside the first requests."""
    until, before, steady = time.monotonic() + 120, 0.0, 0
    while steady < STEADY_LOOKS:
        assert time.monotonic() < until, f"{before:.0f} MiB, and it still grows"
        time.sleep(0.5)
        now = memory(pid).own
        is_read = "safetensors" in Path(f"/proc/{pid}/maps").read_text()
        steady = steady + 1 if is_read and abs(now - before) < 1 else 0
        before = now
    return before


def fuzz(client: httpx.Client, draw: random.Random) -> None:
    for name, method, path, media, example in WITH_BODY:
        for body in bodies(draw, example):
            answer = client.request(method, path, content=body, headers={"Content-Type": media})
            assert answer.status_code < 500, f"{name}: {body[:200]!r} gave {answer.text[:500]}"
            check: Callable[[], Any] = answer.json
            assert not answer.content or check() is not None
