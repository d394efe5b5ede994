"""Requests that a real SQLite refuses, answered by an application with Prefect's error handler."""

import asyncio
import gc
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing

import httpx
import pytest
from asyncpg.exceptions import QueryCanceledError
from fastapi import FastAPI, HTTPException, Request
from prefect.server.api.server import custom_internal_exception_handler
from prefect.settings import PREFECT_SERVER_DATABASE_CONNECTION_URL, temporary_settings
from sqlalchemy import Connection, Engine, create_engine, event, text
from sqlalchemy.exc import OperationalError, PendingRollbackError
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

from deployments import prefect_server
from deployments.guard import PlainJson
from deployments.prefect_server import AskedAgain


class Counter:
    """A table of one number, and what happens between reading it and writing it."""

    def __init__(self, path) -> None:
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("CREATE TABLE number (value INTEGER)")
            connection.execute("INSERT INTO number VALUES (0)")
            connection.commit()
        self.engine = create_engine(f"sqlite:///{path}", isolation_level=None)

        @event.listens_for(self.engine, "begin")
        def _begin(connection: Connection) -> None:
            connection.exec_driver_sql("BEGIN")

    def value(self) -> int:
        with self.engine.begin() as connection:
            return int(connection.execute(text("SELECT value FROM number")).scalar_one())

    def add(self, amount: int, meanwhile: Callable[[], None] = lambda: None) -> None:
        with self.engine.begin() as connection:
            before = connection.execute(text("SELECT value FROM number")).scalar_one()
            meanwhile()
            connection.execute(text("UPDATE number SET value = :new"), {"new": before + amount})


@pytest.fixture
def counter(tmp_path):
    return Counter(tmp_path / "number.db")


class Served:
    """The counter behind HTTP, as Prefect's API is: mounted, and with its error handler."""

    def __init__(self, counter: Counter, rivals: int, *, raising: bool = False) -> None:
        self.counter, self.rivals, self.tries = counter, rivals, 0
        api = FastAPI(exception_handlers={Exception: custom_internal_exception_handler})
        api.post("/add")(self._add)
        api.post("/closed")(self._closed)
        api.post("/broken")(self._broken)
        api.post("/shut")(self._shut)
        api.post("/stale")(self._stale)
        app = FastAPI()
        app.mount("/api", api)
        app.add_middleware(AskedAgain)
        transport = httpx.ASGITransport(app, raise_app_exceptions=raising)
        self.client = httpx.AsyncClient(transport=transport, base_url="http://test/api")

    def post(self, path: str, amount: int = 1) -> httpx.Response:
        async def ask() -> httpx.Response:
            async with self.client:
                # In two parts, as a large body comes.
                parts = (f'{{"amount": {amount}', "}")

                async def body():
                    for part in parts:
                        yield part.encode()

                return await self.client.post(path, content=body())

        return asyncio.run(ask())

    async def _add(self, request: Request) -> int:
        self.tries += 1
        amount = (await request.json())["amount"]
        self.counter.add(amount, self._rival if self.tries <= self.rivals else lambda: None)
        return amount

    def _rival(self) -> None:
        self.counter.add(100)

    def _closed(self) -> None:
        self.tries += 1
        raise HTTPException(503, "closed for today")

    def _stale(self) -> None:
        self.tries += 1
        if self.tries == 1:
            raise PendingRollbackError("what comes after a refusal that somebody caught")

    def _shut(self) -> None:
        self.tries += 1
        # Prefect tells its clients to ask again, and this database is not the reason.
        raise QueryCanceledError("by an operator")

    def _broken(self) -> None:
        self.tries += 1
        with self.counter.engine.begin() as connection:
            connection.execute(text("SELECT * FROM nothing"))


@pytest.mark.parametrize("rivals", [0, 1, 5])
def test_what_was_refused_is_done_once_and_nobody_is_told(counter, rivals):
    served = Served(counter, rivals)
    answer = served.post("/add", amount=7)
    assert (answer.status_code, answer.json()) == (200, 7)
    assert served.tries == rivals + 1
    assert counter.value() == 100 * rivals + 7


def test_what_follows_from_a_refusal_is_done_again_too(counter):
    served = Served(counter, rivals=0)
    assert served.post("/stale").status_code == 200
    assert served.tries == 2


def test_what_is_refused_each_time_is_told_in_the_end(counter):
    served = Served(counter, rivals=100)
    answer = served.post("/add", amount=7)
    assert (answer.status_code, answer.json()["exception_message"]) == (503, "Service Unavailable")
    assert served.tries == len(prefect_server._PAUSES_S) + 1
    assert counter.value() == 100 * served.tries
    # The server logs what is raised behind the answer.
    with pytest.raises(OperationalError, match="locked"):
        Served(counter, rivals=100, raising=True).post("/add", amount=7)


@pytest.mark.parametrize(("path", "status"), [("/closed", 503), ("/shut", 503), ("/broken", 500)])
def test_other_failures_are_told_at_once(counter, path, status):
    served = Served(counter, rivals=0)
    assert served.post(path).status_code == status
    assert served.tries == 1


@pytest.fixture
def served_tidily() -> Iterator[None]:
    """Connections to SQLite are those of the server."""
    event.listen(Engine, "do_connect", prefect_server._connect_tidily)
    yield
    event.remove(Engine, "do_connect", prefect_server._connect_tidily)


async def longest_standstill(engine, path) -> float:
    """Seconds for which the event loop stood still when the collector took a refused statement.

    Its connection waits for a lock by then, as it does on a busy server.
    """
    rival = sqlite3.connect(path, isolation_level=None)

    async def add(connection: AsyncConnection, patience_ms: int) -> None:
        await connection.exec_driver_sql(f"PRAGMA busy_timeout = {patience_ms}")
        with pytest.raises(OperationalError, match="locked"):
            await connection.exec_driver_sql("UPDATE number SET value = 1")

    async with engine.connect() as connection:
        with closing(rival):
            rival.execute("BEGIN IMMEDIATE")
            await add(connection, patience_ms=0)
            waiting = asyncio.create_task(add(connection, patience_ms=3000))
            await asyncio.sleep(0.3)
            begun = time.monotonic()
            gc.collect()
            took = time.monotonic() - begun
            assert not waiting.done()
            await waiting
    return took


def test_what_a_refused_statement_leaves_behind_stops_nobody(counter, tmp_path, served_tidily):
    engine = create_async_engine(f"sqlite+aiosqlite:///{tmp_path / 'number.db'}")
    # The collector looks at what comes from here on alone: else a large process is slow by itself.
    gc.collect()
    gc.freeze()
    gc.disable()
    try:
        assert asyncio.run(longest_standstill(engine, tmp_path / "number.db")) < 1.5
    finally:
        gc.enable()
        gc.unfreeze()


@pytest.mark.parametrize(
    ("database", "asked_again"),
    [("sqlite+aiosqlite:///x.db", True), ("postgresql+asyncpg://prefect@127.0.0.1/x", False)],
)
def test_the_server_is_prefects_own(database, asked_again):
    with temporary_settings({PREFECT_SERVER_DATABASE_CONNECTION_URL: database}):
        app = prefect_server.create_prefect()
        assert app is prefect_server.server.create_app()
    assert PlainJson in {one.cls for one in app.user_middleware}
    assert (AskedAgain in {one.cls for one in app.user_middleware}) is asked_again
    listener = (Engine, "do_connect", prefect_server._connect_tidily)
    assert event.contains(*listener) is asked_again
    if asked_again:
        event.remove(*listener)
