"""The process in which the file of a stranger is opened, rebuilt and tried: a child of ours.

    python -m guardianflow.vision.ir.confined FILE FOLDER
    FOLDER/request.json --bounds first, then FILE--> FOLDER/ir/, FOLDER/answer.json

It knows nothing but its two arguments and is started by `confinement` alone. What a hostile file
can do here is to end this process.
"""

import json
import os
import resource
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from guardianflow.vision.ir.reading import BoxForm, ChannelOrder, InputRange, LayoutName

if TYPE_CHECKING:
    from guardianflow.vision.ir.adaptation import Adapted

REQUEST, ANSWER, SQUARES, IR = "request.json", "answer.json", "squares.npy", "ir"
# Threads wait in memory of their own, which is counted though nobody uses it.
_THREAD_BYTES = 16 * 2**20
_SLACK_S = 60


class ReadingRequest(BaseModel):
    """How a file is to be read, and within which bounds."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    wanted: tuple[str, ...] = Field(description="Classes of the scenario.")
    classes: tuple[str, ...] = Field(description="Those of the file, where the caller knows them.")
    mapping: dict[str, str] = Field(description="What a class of the scenario is called in it.")
    size: int = Field(description="Side in pixels, where the file leaves it open.")
    layout: LayoutName | None = Field(description="None: its shapes and answers say.")
    input_range: InputRange | None = Field(description="None: the usual one.")
    channel_order: ChannelOrder = Field(description="Of its input.")
    boxes: BoxForm | None = Field(description="None: its answers say.")
    memory_bytes: int = Field(gt=0, description="What that may take of memory.")
    seconds: int = Field(gt=0, description="What that may take of time.")


class ReadingAnswer(BaseModel):
    """What was found in a file; the IR that was made of it lies beside this."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    sha256: str = Field(description="Over all files that belong to it.", max_length=64)
    format: str = Field(description="onnx or openvino.", max_length=20)
    producer: str = Field(description="Who wrote the file; '' if unsaid.", max_length=500)
    opset: int = Field(description="Version of ONNX's operators; 0 if unsaid.")
    licence: str = Field(description="As the file states it; '' if not.", max_length=200)
    layout: LayoutName = Field(description="Of its outputs.")
    input_range: InputRange = Field(description="Of its input.")
    size: int = Field(description="Side of its input in pixels.")
    precision: str = Field(description="Of its weights: fp32 or fp16.", max_length=10)
    boxes: BoxForm = Field(description="How its boxes are written.")
    usual: bool = Field(description="Whether most with this layout write them so.")
    called: dict[str, str] = Field(description="What each wanted class is called in the file.")


def main() -> None:
    """Read one file, and leave an answer or an error of ours beside the request."""
    file, folder = Path(sys.argv[1]), Path(sys.argv[2])
    request = ReadingRequest.model_validate_json((folder / REQUEST).read_bytes())
    _confine(request)
    from guardianflow.errors import ModelInvalid

    try:
        answer = {"answer": _read(file, folder, request).model_dump(mode="json")}
    except ModelInvalid as error:
        answer = {"error": error.to_json()}
    written = json.dumps(answer, default=str)
    (folder / ANSWER).write_text(written, encoding="ascii")


def _confine(request: ReadingRequest) -> None:
    """Bounds that the system keeps, set before the file is touched."""
    processors = os.cpu_count() or 1
    bounds = {
        # Memory that is written to. The address space is no measure: OpenVINO reserves some
        # hundred megabytes of it that it never touches, and maps weights without copying them.
        resource.RLIMIT_DATA: request.memory_bytes + processors * _THREAD_BYTES,
        resource.RLIMIT_FSIZE: request.memory_bytes,
        # For the case that nobody is there any more who looks at the clock.
        resource.RLIMIT_CPU: request.seconds * processors + _SLACK_S,
        resource.RLIMIT_CORE: 0,
    }
    for kind, bound in bounds.items():
        _, hard = resource.getrlimit(kind)
        lowest = bound if hard == resource.RLIM_INFINITY else min(bound, hard)
        resource.setrlimit(kind, (lowest, lowest))
    if sys.platform == "linux":
        # Where the whole machine runs out of memory, this process goes first. Some containers have
        # this file for reading alone, or not at all; the bounds above hold without it.
        with suppress(OSError):
            Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")


def _read(file: Path, folder: Path, request: ReadingRequest) -> ReadingAnswer:
    from guardianflow.errors import ModelInvalid
    from guardianflow.vision.ir import ir
    from guardianflow.vision.ir.adaptation import adapt, check_answers, frames_for
    from guardianflow.vision.ir.foreign import open_foreign
    from guardianflow.vision.ir.reading import Reading, match_classes

    foreign = open_foreign(file, classes=request.classes)
    if not foreign.names:
        raise ModelInvalid(
            f"{file} does not name its classes.",
            remedy="Name them in the order of their indices: --classes " + ",".join(request.wanted),
            file=str(file),
        )
    rows = match_classes(foreign.names, request.wanted, request.mapping, str(file))
    reading = Reading(
        classes=foreign.names,
        rows=rows,
        size=request.size,
        layout=request.layout,
        input_range=request.input_range,
        channel_order=request.channel_order,
        boxes=request.boxes,
    )
    given = folder / SQUARES
    squares = list(np.load(given, allow_pickle=False)) if given.exists() else []
    adapted: Adapted = adapt(foreign, reading, squares, max_bytes=request.memory_bytes)
    check_answers(adapted.model, frames_for(squares, adapted.size), str(file))
    ir.describe(adapted.model, classes=request.wanted, precision=adapted.precision)
    said = f"{file.name} sha256:{foreign.sha256}"
    adapted.model.set_rt_info(said, ["guardianflow", "origin"])
    ir.save(adapted.model, folder / IR)
    return ReadingAnswer(
        sha256=foreign.sha256,
        format=foreign.format,
        producer=foreign.producer[:500],
        opset=foreign.opset,
        licence=foreign.licence,
        layout=adapted.layout,
        input_range=adapted.input_range,
        size=adapted.size,
        precision=adapted.precision,
        boxes=adapted.boxes,
        usual=adapted.usual,
        called={name: foreign.names[row] for name, row in zip(request.wanted, rows, strict=True)},
    )


if __name__ == "__main__":
    main()
