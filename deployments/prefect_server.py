"""The embedded Prefect server: Prefect's own application, made fit for SQLite.

SQLite refuses a transaction that has read and then wants to write, if somebody else has written in
between. Prefect then answers 503, and its clients, including the automations, try again after 2, 4,
8 s. Here the request is repeated within a fraction of a second, before the client learns of it.

    request --> application --> answer
       ^             |
       +-- refused --+     soon, five times; then the client gets the 503

What a refused statement leaves behind is closed at once: see `_Cursor`. On PostgreSQL nothing is
refused. With any database a guard stands before the application: see `deployments.guard`.
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
    """Prefect's application behind the guard."""
    login = PREFECT_SERVER_API_AUTH_STRING.value()
    if isinstance(login, SecretStr):
        login = login.get_secret_value()
    return Guard(create_prefect(), hosts=allowed_hosts(), login=login, open_to_all=_open_to_all)


def _open_to_all(scope: Scope) -> bool:
    """Whether no password is needed: for the pages of the UI, and for the health check.

    Prefect asks for the password too, but only after it has read the body. Websockets send it in
    a message.
    """
    path = scope["path"]
    is_api = path == "/api" or path.startswith("/api/")
    return scope["type"] == "websocket" or not is_api or path in ("/api/health", "/api/ready")


def create_prefect() -> FastAPI:
    """Prefect's application as `prefect server start` serves it, with our middleware.

    Automations call the same object, so their requests are repeated and checked as well.
    """
    app = server.create_app(final=True)
    if str(PREFECT_SERVER_DATABASE_CONNECTION_URL.value()).startswith("sqlite"):
        app.add_middleware(AskedAgain)
        event.listen(Engine, "do_connect", _connect_tidily)
    app.add_middleware(PlainJson)
    return app


class _Cursor(sqlite3.Cursor):
    """A cursor that is closed as soon as its statement fails.

    SQLAlchemy leaves it open, and the traceback of the error keeps it until garbage collection. The
    collector then needs the connection, whose thread may be waiting up to 60 s for a lock, which
    its holder gives up only after the collection: for so long nobody is served.
    """

    def execute(self, *statement: Any) -> "_Cursor":
        """Execute a statement; close the cursor if that fails."""
        try:
            return super().execute(*statement)
        except sqlite3.Error:
            self.close()
            raise

    def executemany(self, *statement: Any) -> "_Cursor":
        """Execute a statement for many parameters; close the cursor if that fails."""
        try:
            return super().executemany(*statement)
        except sqlite3.Error:
            self.close()
            raise


class _Connection(sqlite3.Connection):
    """A connection whose cursors close themselves."""

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
    """Repeats a request that SQLite refused, as its client would do later.

    What answers, says 503 then and raises SQLAlchemy's error.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; a websocket is passed on."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request = await _whole(receive)
        for pause in _PAUSES_S:
            # A copy, because applications write their route into it.
            if not await _refused(self.app, dict(scope), replay(request, receive), send):
                return
            # A random pause: requests that were refused together would be refused together again.
            # Requests do not wait for one another: one that hangs would hold up all of them.
            await asyncio.sleep(pause * random.uniform(0.2, 1.8))
        # The last time the client gets the answer, and Prefect decides what is logged.
        await self.app(scope, replay(request, receive), send)


async def _refused(app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> bool:
    """Let the application answer; true if SQLite refused and nothing has been sent."""
    held: list[Message] = []

    async def pass_on(message: Message) -> None:
        # A 503 is held back until its cause is known.
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
        # This includes what follows a refusal, such as a broken transaction.
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
