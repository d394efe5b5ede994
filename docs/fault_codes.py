"""The table of faults in docs/datasets.md, made of `FaultCode`: `python -m docs.fault_codes`."""

from pathlib import Path

from guardianflow.vision.data.rules import FaultCode

PAGE = Path(__file__).with_name("datasets.md")
_BEGIN = "<!-- codes: written by `python -m docs.fault_codes` -->"
_END = "<!-- end of codes -->"


def table() -> str:
    """One row for each code."""
    rows = ["| code | | what it is | what is loaded |", "|---|---|---|---|"]
    rows += [
        f"| `{code}` | {code.severity} | {code.meaning} | {code.repair or '-'} |"
        for code in FaultCode
    ]
    return "\n".join(rows)


def written(page: str) -> str:
    """The page with the table of now.

    Raises:
        ValueError: A marker is missing.
    """
    head, _, rest = page.partition(_BEGIN)
    _, end, tail = rest.partition(_END)
    if not end:
        raise ValueError(f"{PAGE} lacks {_BEGIN} or {_END}")
    return f"{head}{_BEGIN}\n{table()}\n{_END}{tail}"


if __name__ == "__main__":
    PAGE.write_text(written(PAGE.read_text("utf-8")), encoding="utf-8")
