"""An API process between its connections: a turn of its event loop may be long, and many may come meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading

import httpx
import pytest
import uvicorn
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from app import api_process
from app.api_process import DOORS, DrainingServer, doors_of

TURNS = 3


def test_who_came_during_a_long_turn_is_let_in_within_a_few(monkeypatch: pytest.MonkeyPatch) -> None:
    """libuv accepts one connection of a socket in a turn: of thirty that came during a batch of slates, the last waited for thirty more."""
    monkeypatch.setattr(api_process, "calm_interpreter", lambda: None)  # it is for a process of its own
    begun, all_there, let_in = threading.Event(), threading.Event(), list[int]()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if not begun.is_set():
            begun.set()
            assert all_there.wait(30)  # the event loop stands still
            for _ in range(TURNS):
                await asyncio.sleep(0)
            let_in.append(len(server.server_state.connections))
        await Response("done")(scope, receive, send)

    listener = socket.create_server(("127.0.0.1", 0), backlog=128)
    address = listener.getsockname()
    server = DrainingServer(uvicorn.Config(app, lifespan="off", log_config=None, loop="uvloop"), None)
    thread = threading.Thread(target=server.run, args=(doors_of(listener),))
    thread.start()
    try:
        with contextlib.ExitStack() as others, httpx.Client(trust_env=False, timeout=60) as client:
            asking = threading.Thread(target=client.get, args=(f"http://127.0.0.1:{address[1]}/",))
            asking.start()
            assert begun.wait(30)
            for _ in range(2 * DOORS):
                others.enter_context(socket.create_connection(address))
            all_there.set()
            asking.join()
    finally:
        all_there.set()
        server.should_exit = True
        server.force_exit = True
        thread.join()
    assert let_in[0] >= 1 + 1.5 * DOORS
