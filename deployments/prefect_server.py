"""The embedded Prefect server: Prefect's own application, and what makes it live with SQLite.

SQLite refuses a request of Prefect's that has read and then wants to write, where somebody else
has written in between. Prefect answers 503, and its clients, the automations among them, ask again
after 2, 4, 8 s. Here the request is made again within a fraction of a second, before anybody is
told.

    request --> application --> answer
       ^             |
       +-- refused --+     soon, five times; then the client is told as ever

What a refused statement leaves behind is tidied up at once: see `_Cursor`.

On PostgreSQL nothing is refused.

Whatever the database, a guard stands before all of it: see `deployments.guard`.
"""

import asyncio
import random
import sqlite3
from typing import Any

from fastapi import FastAPI
from prefect.server.api import server
from prefect.settings import PREFECT_SERVER_API_AUTH_STRING, PREFECT_SERVER_DATABASE_CONNECTION_URL
from pydantic import SecretStr
from sqlalchemy import Dialect, Engine, event
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import ConnectionPoolEntry
from starlette.status import HTTP_503_SERVICE_UNAVAILABLE
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from deployments.guard import Guard, PlainJson, allowed_hosts, replay

# Seconds before each new try, on average.
_PAUSES_S = (0.02, 0.1, 0.2, 0.4, 0.6)


def create_app() -> ASGIApp:
    """What is served: Prefect's application behind the guard."""
    login = PREFECT_SERVER_API_AUTH_STRING.value()
    if isinstance(login, SecretStr):
        login = login.get_secret_value()
    return Guard(create_prefect(), hosts=allowed_hosts(), login=login, open_to_all=_open_to_all)


def _open_to_all(scope: Scope) -> bool:
    """What Prefect gives without a password: the UI's own pages, and whether it runs.

    Prefect asks for it as well, but after a body was read. Websockets send it as a message.
    """
    path = scope["path"]
    is_api = path == "/api" or path.startswith("/api/")
    return scope["type"] == "websocket" or not is_api or path in ("/api/health", "/api/ready")


def create_prefect() -> FastAPI:
    """Prefect's application, as `prefect server start` serves it, with ours around it.

    Automations call it through the same object: their requests are asked again, and looked at, too.
    """
    app = server.create_app(final=True)
    if str(PREFECT_SERVER_DATABASE_CONNECTION_URL.value()).startswith("sqlite"):
        app.add_middleware(AskedAgain)
        event.listen(Engine, "do_connect", _connect_tidily)
    app.add_middleware(PlainJson)
    return app


class _Cursor(sqlite3.Cursor):
    """Closed in the moment in which its statement fails.

    SQLAlchemy leaves it open, and the error's traceback keeps it, until the garbage collector comes
    by. To free it, that needs the connection, which its thread may have by then, waiting up to 60 s
    for the lock of somebody who goes on when the collector is done: nobody is served so long.
    """

    def execute(self, *statement: Any) -> "_Cursor":
        """Execute a statement; closed where that fails."""
        try:
            return super().execute(*statement)
        except sqlite3.Error:
            self.close()
            raise

    def executemany(self, *statement: Any) -> "_Cursor":
        """Execute a statement with many parameters; closed where that fails."""
        try:
            return super().executemany(*statement)
        except sqlite3.Error:
            self.close()
            raise


class _Connection(sqlite3.Connection):
    """Gives out cursors that close themselves."""

    def cursor(self, factory: Any = _Cursor) -> Any:
        """A new cursor."""
        return super().cursor(factory)


def _connect_tidily(
    dialect: Dialect, entry: ConnectionPoolEntry, args: list[Any], options: dict[str, Any]
) -> None:
    """Let SQLAlchemy open its connections as `_Connection`."""
    del dialect, entry, args
    options["factory"] = _Connection


class AskedAgain:
    """Makes a request again that SQLite refused, as its client would do a little later.

    Args:
        app: What answers. Where it was refused it says 503 and raises what SQLAlchemy raised.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; what is no request (a websocket) is passed on."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request = await _whole(receive)
        for pause in _PAUSES_S:
            # A copy: applications write into it which route they took.
            if not await _refused(self.app, dict(scope), replay(request, receive), send):
                return
            # Of another length for each: refused together, they would be refused together again.
            # No request waits for another one here: one that hangs would hold up all of them.
            await asyncio.sleep(pause * random.uniform(0.2, 1.8))
        # As ever: the client is told, and Prefect decides what is logged.
        await self.app(scope, replay(request, receive), send)


async def _refused(app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> bool:
    """Let the application answer; true where SQLite refused, and nothing has been sent."""
    held: list[Message] = []

    async def pass_on(message: Message) -> None:
        # A 503 is held back until it is known why.
        if held or message.get("status") == HTTP_503_SERVICE_UNAVAILABLE:
            held.append(message)
        else:
            await send(message)

    async def release() -> None:
        for message in held:
            await send(message)

    try:
        await app(scope, receive, pass_on)
    except SQLAlchemyError:
        # Also what a refusal leads to, such as a transaction that is broken since.
        if not held:
            raise
        return True
    except Exception:
        await release()
        raise
    await release()
    return False


async def _whole(receive: Receive) -> list[Message]:
    """All messages of a request, or those until its client left."""
    messages = [await receive()]
    while messages[-1].get("more_body"):
        messages.append(await receive())
    return messages
