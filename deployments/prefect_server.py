"""The embedded Prefect server: Prefect's own application, which asks a busy SQLite again by itself.

SQLite refuses a request of Prefect's that has read and then wants to write, where somebody else
has written in between. Prefect answers 503, and its clients, the automations among them, ask again
after 2, 4, 8 s. Here the request is made again within a fraction of a second, before anybody is
told.

    request --> application --> answer
       ^             |
       +-- refused --+     soon, five times; then the client is told as ever

On PostgreSQL nothing is refused, and this is what `prefect server start` serves.
"""

import asyncio
import random

from fastapi import FastAPI
from prefect.server.api import server
from prefect.settings import PREFECT_SERVER_DATABASE_CONNECTION_URL
from sqlalchemy.exc import SQLAlchemyError
from starlette.status import HTTP_503_SERVICE_UNAVAILABLE
from starlette.types import ASGIApp, Message, Receive, Scope, Send

# Seconds before each new try, on average.
_PAUSES_S = (0.02, 0.1, 0.2, 0.4, 0.6)


def create_app() -> FastAPI:
    """Prefect's application, as `prefect server start` serves it, with `AskedAgain` around it.

    Automations call it through the same object: their requests are asked again, too.
    """
    app = server.create_app(final=True)
    if str(PREFECT_SERVER_DATABASE_CONNECTION_URL.value()).startswith("sqlite"):
        app.add_middleware(AskedAgain)
    return app


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

        async def ask() -> _Answer:
            # A copy: applications write into it which route they took.
            return await _asked(self.app, dict(scope), _replay(request, receive), send)

        answer = await ask()
        for pause in _PAUSES_S:
            if not answer.refusal:
                break
            # Of another length for each: refused together, they would be refused together again.
            # No request waits for another one here: one that hangs would hold up all of them.
            await asyncio.sleep(pause * random.uniform(0.2, 1.8))
            answer = await ask()
        await answer.release()
        if answer.refusal:
            # As ever: Prefect decides what is logged of it.
            raise answer.refusal


class _Answer:
    """Passes an answer on, but holds a 503 back until it is known why."""

    def __init__(self, send: Send) -> None:
        self.send = send
        self.held: list[Message] = []
        self.refusal: SQLAlchemyError | None = None

    async def __call__(self, message: Message) -> None:
        if self.held or message.get("status") == HTTP_503_SERVICE_UNAVAILABLE:
            self.held.append(message)
        else:
            await self.send(message)

    async def release(self) -> None:
        for message in self.held:
            await self.send(message)


async def _asked(app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> _Answer:
    """What the application answers; not sent yet, if SQLite refused."""
    answer = _Answer(send)
    try:
        await app(scope, receive, answer)
    except SQLAlchemyError as error:
        # Also what a refusal leads to, such as a transaction that is broken since.
        if not answer.held:
            raise
        answer.refusal = error
    except Exception:
        await answer.release()
        raise
    return answer


async def _whole(receive: Receive) -> list[Message]:
    """All messages of a request, or those until its client left."""
    messages = [await receive()]
    while messages[-1].get("more_body"):
        messages.append(await receive())
    return messages


def _replay(messages: list[Message], receive: Receive) -> Receive:
    """The same messages again, and then whatever else comes."""
    left = iter(messages)

    async def again() -> Message:
        for message in left:
            return message
        return await receive()

    return again
