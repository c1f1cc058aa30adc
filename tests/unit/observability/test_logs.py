"""What a log line holds, seen in a process of its own, because logging is set up once per process."""

import json
import subprocess
import sys

SCRIPT = """
import asyncio, logging, sys
import httpx
from app.main import create_app
from app.observability.logs import configure_logging

configure_logging("INFO", sys.argv[1])
logging.getLogger("uvicorn.error").warning("from %s", "uvicorn")

async def main():
    async with httpx.AsyncClient(transport=httpx.ASGITransport(create_app()), base_url="http://t") as client:
        await client.get("/healthz", headers={"X-Request-Id": "probe"})
        await client.get("/nowhere", headers={"X-Request-Id": "r1"})
        headers = {"Authorization": "Bearer secret-key", "X-Request-Id": "r2"}
        await client.put("/v1/users/ann", json={"text": "private words"}, headers=headers)

asyncio.run(main())
"""


def lines(log_format: str) -> list[str]:
    done = subprocess.run([sys.executable, "-c", SCRIPT, log_format], capture_output=True, text=True, check=True)
    assert done.stdout == ""
    return done.stderr.strip().splitlines()


def test_json_lines_name_the_request_but_not_what_it_carried() -> None:
    raw = lines("json")
    foreign, first, failure, last = map(json.loads, raw)
    assert (foreign["event"], foreign["level"]) == ("from uvicorn", "warning")
    assert {key: first[key] for key in ("event", "method", "route", "status", "request_id")} == {
        "event": "request", "method": "GET", "route": "unmatched", "status": 404, "request_id": "r1",
    }  # fmt: skip
    assert first["duration_ms"] >= 0
    assert "AttributeError" in failure["exception"]
    assert (last["route"], last["status"], last["request_id"]) == ("/v1/users/{user_id}", 500, "r2")
    assert "probe" not in "".join(raw)  # probes are asked for ever; their lines are of level debug
    for secret in ("secret-key", "private words", "ann"):
        assert secret not in "".join(raw)


def test_lines_for_people_print_no_local_variables() -> None:
    text = "\n".join(lines("console"))
    assert "AttributeError" in text
    for secret in ("secret-key", "private words"):
        assert secret not in text
