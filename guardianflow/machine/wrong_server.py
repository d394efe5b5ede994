"""Says in one sentence what answers instead of one of our servers, or why nothing does.

An address is often nearly right: another port, a missing path prefix, a gateway that wants a login
first. The answer then is a web page, or JSON of another service. `mlflow_store/client.py` and
`prefect_api/client.py` recognize it by status and shape, and describe it with these functions.
"""

import html
import json
import re
import ssl
from collections.abc import Iterator
from contextlib import suppress
from urllib.parse import urlsplit

from guardianflow.machine.servers import without_secrets

_EXCERPT = 120
_TITLE = re.compile(r"<title[^>]*>(.*?)</title>", re.IGNORECASE | re.DOTALL)
_LOGIN_WANTED = (401, 403, 407)
_REDIRECTED = range(300, 400)


def answers_instead(expected: str, url: str, status: int, text: str) -> str:
    """The sentence that something else than e.g. `MLflow` answers, with this status and text.

    The query of the address is left out, because it may hold a secret.
    """
    address = urlsplit(url)
    where = f"{address.scheme}://{address.netloc.rpartition('@')[2]}{address.path}"
    return f"Something else than {expected} answers at {where} (HTTP {status}, {_excerpt(text)})."


def correct_the_address(variable: str, status: int, *, login: str) -> str:
    """What to do about it, where `variable` holds the address and those in `login` a login."""
    if status in _LOGIN_WANTED or status in _REDIRECTED:
        return (
            f"If a gateway stands in front of the server, give it the login that it wants ({login})"
            f"; else correct {variable}: host, port and path prefix."
        )
    return f"Correct {variable}: host, port and path prefix."


def reason(error: BaseException) -> str:
    """Why a request failed, in the words of the system; those of libraries repeat the request."""
    said = [*causes(error)][-1]
    text = one_line(without_secrets(str(said)))
    return getattr(said, "strerror", None) or text or type(said).__name__


def is_page(text: str) -> bool:
    """Whether it is a web page."""
    return text.lstrip()[:1] == "<"


def distrusted(error: BaseException) -> str | None:
    """Why the server's certificate is not trusted; None if the error is about something else."""
    for cause in causes(error):
        if isinstance(cause, ssl.SSLCertVerificationError):
            return cause.verify_message or "it cannot be verified"
    return None


def causes(error: BaseException) -> Iterator[BaseException]:
    """An error and its causes, including those in arguments and attributes."""
    waiting, seen = [error], set[int]()
    while waiting:
        one = waiting.pop(0)
        if id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        behind = (one.__cause__, one.__context__, getattr(one, "reason", None), *one.args)
        waiting += [cause for cause in behind if isinstance(cause, BaseException)]


def _excerpt(text: str) -> str:
    """The title of a page, or the beginning of any other text, in one line."""
    if is_page(text):
        title = _TITLE.search(text)
        return f"a web page {one_line(html.unescape(title[1]))!r}" if title else "a web page"
    with suppress(ValueError):
        text = json.dumps(json.loads(text), ensure_ascii=False)
    return one_line(text) or "an empty answer"


def one_line(text: str) -> str:
    """The beginning of a text as one line, without control characters."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text[: 4 * _EXCERPT]).split())
    return line if len(line) <= _EXCERPT else f"{line[:_EXCERPT]} ..."
