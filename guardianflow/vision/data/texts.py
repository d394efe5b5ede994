"""Reads text files of a data set: UTF-8, or the encoding of a byte order mark."""

import codecs
from dataclasses import dataclass
from pathlib import Path

from guardianflow.vision.data.decoding import read_content
from guardianflow.vision.data.findings import Fault
from guardianflow.vision.data.rules import FaultCode

MAX_TEXT_BYTES = 8 * 2**20
# UTF-32's little-endian mark begins with that of UTF-16.
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig", "UTF-8"),
    (codecs.BOM_UTF32_LE, "utf-32", "UTF-32"),
    (codecs.BOM_UTF32_BE, "utf-32", "UTF-32"),
    (codecs.BOM_UTF16_LE, "utf-16", "UTF-16"),
    (codecs.BOM_UTF16_BE, "utf-16", "UTF-16"),
)


@dataclass(frozen=True)
class DecodedText:
    """A text, and a warning if it begins with a byte order mark."""

    text: str
    fault: Fault | None = None


def read_text(file: Path | str, max_bytes: int = MAX_TEXT_BYTES) -> DecodedText:
    """Read a text file of the data set.

    Raises:
        Fault: The file cannot be read, or its encoding is unknown.
    """
    return decode_text(read_content(file, max_bytes))


def decode_text(content: bytes) -> DecodedText:
    """Decode the content of a text file.

    Raises:
        Fault: The encoding is unknown.
    """
    mark = next((known for known in _MARKS if content.startswith(known[0])), None)
    try:
        if mark is None:
            return DecodedText(content.decode("utf-8"))
        text = content.decode(mark[1])
    except UnicodeDecodeError as error:
        raise Fault(
            FaultCode.TEXT_ENCODING,
            f"is not UTF-8 text (byte {error.start} is 0x{content[error.start]:02x})",
            f"Save the file as UTF-8{_guess(content)}.",
            value=content[max(0, error.start - 8) : error.start + 8],
        ) from error
    return DecodedText(
        text,
        Fault(
            FaultCode.TEXT_RECODED,
            f"begins with a byte order mark ({mark[2]})",
            "Save it as UTF-8 without the mark: other programs cannot read it.",
            value=mark[2],
        ),
    )


def _guess(content: bytes) -> str:
    """A command to try, if the bytes look like Korean or Western European text."""
    try:
        korean = content.decode("cp949")
    except UnicodeDecodeError:
        return ", e.g. `iconv -f LATIN1 -t UTF-8`" if b"\0" not in content else ""
    if any("가" <= letter <= "힣" for letter in korean):
        return ", it looks like Korean: `iconv -f CP949 -t UTF-8`"
    return ""
