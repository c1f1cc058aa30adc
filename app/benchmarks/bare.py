"""The reference of a slate's cost: a FastAPI route that returns given bytes, and nothing else. `python -m app.benchmarks.bare SOCKET FILE`."""

from __future__ import annotations

import socket
import sys
from pathlib import Path

import uvicorn
from fastapi import FastAPI, Response


def bare_app(body: bytes) -> FastAPI:
    app = FastAPI(openapi_url=None)

    @app.get("/{path:path}")
    async def answer() -> Response:
        return Response(body, media_type="application/json")

    return app


def main() -> None:
    descriptor, file = sys.argv[1:]
    config = uvicorn.Config(bare_app(Path(file).read_bytes()), log_config=None, access_log=False, server_header=False)
    uvicorn.Server(config).run(sockets=[socket.socket(fileno=int(descriptor))])


if __name__ == "__main__":
    main()
