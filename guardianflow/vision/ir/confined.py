"""The child process in which an untrusted model file is opened, rebuilt and tried.

    python -m guardianflow.vision.ir.confined FILE FOLDER
    FOLDER/request.json --limits first, then FILE--> FOLDER/ir/, FOLDER/answer.json

Only `confinement` starts it, and it knows nothing but its two arguments. The worst that a hostile
file can do is to end this process.
"""

import json
import os
import resource
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from pydantic import Field

from guardianflow.errors import ModelInvalid
from guardianflow.stored import Strict
from guardianflow.vision.ir.reading import (
    Background,
    BoxForm,
    LayoutName,
    OpenQuestion,
    Pixels,
    Placement,
    Reading,
    ScoreForm,
)

if TYPE_CHECKING:
    from guardianflow.vision.ir.adaptation import Adapted

REQUEST, ANSWER, PICTURES, IR = "request.json", "answer.json", "pictures.npy", "ir"
# Every thread reserves memory for its stack, which counts although it is not used.
_THREAD_BYTES = 16 * 2**20
_SLACK_S = 60


class ReadingRequest(Reading):
    """How to read a file, and within which limits."""

    wanted: tuple[str, ...] = Field(description="Classes of the scenario.")
    classes: tuple[str, ...] = Field(description="Classes of the file, if the caller knows them.")
    mapping: dict[str, str] = Field(description="Name in the file, by class of the scenario.")
    memory_bytes: int = Field(gt=0, description="Memory that it may use.")
    seconds: int = Field(gt=0, description="Time that it may take.")


class ReadingAnswer(Strict):
    """What was found in a file; the IR made from it is saved beside this."""

    sha256: str = Field(description="Of all files that belong to it.", max_length=64)
    format: str = Field(description="onnx or openvino.", max_length=20)
    producer: str = Field(
        description="The program that wrote the file; '' if unknown.", max_length=500
    )
    opset: int = Field(description="Version of ONNX's operators; 0 if unknown.")
    licence: str = Field(description="As the file states it; '' if not.", max_length=200)
    layout: LayoutName = Field(description="Of its outputs.")
    family: str = Field(description="The family of detectors; '' if unknown.", max_length=40)
    pixels: Pixels = Field(description="What its input takes pixels to be.")
    height: int = Field(description="Of its input in pixels.")
    width: int = Field(description="Of its input in pixels.")
    placement: Placement = Field(description="Of a frame in its input.")
    precision: str = Field(description="Of its weights: fp32 or fp16.", max_length=10)
    boxes: BoxForm = Field(description="Its box form.")
    usual: bool = Field(description="Whether this form is the usual one of the layout.")
    scores: ScoreForm = Field(description="The form of its scores.")
    background: Background | None = Field(description="Place of the class for no object.")
    questions: tuple[OpenQuestion, ...] = Field(description="What nothing answered.")
    called: dict[str, str] = Field(description="Name in the file, by wanted class.")

    def describe(self) -> str:
        """Return how the file is read, in words."""
        told = f"{self.layout}, pixels {self.pixels.describe()}, boxes as {self.boxes}"
        return f"{told}, frames placed {self.placement}"


def main() -> None:
    """Read one file, and write an answer or a ModelInvalid beside the request."""
    file, folder = Path(sys.argv[1]), Path(sys.argv[2])
    request = ReadingRequest.model_validate_json((folder / REQUEST).read_bytes())
    _confine(request)
    try:
        answer = {"answer": _read(file, folder, request).model_dump(mode="json")}
    except ModelInvalid as error:
        answer = {"error": error.to_json()}
    except UnicodeDecodeError as error:
        # OpenVINO passes any bytes on as names of operations.
        unreadable = ModelInvalid(
            f"{file} holds a name that is not UTF-8: {error}.",
            remedy="Copy the file again if it is damaged, or export it again.",
            file=str(file),
        )
        answer = {"error": unreadable.to_json()}
    written = json.dumps(answer, default=str)
    (folder / ANSWER).write_text(written, encoding="ascii")


def _confine(request: ReadingRequest) -> None:
    """Set limits that the operating system enforces, before the file is opened."""
    processors = os.cpu_count() or 1
    bounds = {
        # Memory that is written to. The address space cannot be limited: OpenVINO reserves some
        # hundred megabytes that it never uses, and maps weights without copying them.
        resource.RLIMIT_DATA: request.memory_bytes + processors * _THREAD_BYTES,
        resource.RLIMIT_FSIZE: request.memory_bytes,
        # In case the parent, which watches the clock, is gone.
        resource.RLIMIT_CPU: request.seconds * processors + _SLACK_S,
        resource.RLIMIT_CORE: 0,
    }
    for kind, bound in bounds.items():
        _, hard = resource.getrlimit(kind)
        lowest = bound if hard == resource.RLIM_INFINITY else min(bound, hard)
        resource.setrlimit(kind, (lowest, lowest))
    if sys.platform == "linux":
        # If the machine runs out of memory, this process is killed first. In some containers this
        # file is read-only or missing; the limits above hold without it.
        with suppress(OSError):
            Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")


def _read(file: Path, folder: Path, request: ReadingRequest) -> ReadingAnswer:
    from guardianflow.vision.ir import ir
    from guardianflow.vision.ir.adaptation import adapt, check_answers, pictures_for
    from guardianflow.vision.ir.foreign import open_foreign
    from guardianflow.vision.ir.reading import match_classes

    foreign = open_foreign(file, classes=request.classes)
    if not foreign.names:
        raise ModelInvalid(
            f"{file} does not name its classes.",
            remedy="Name them in the order of their indices: --classes " + ",".join(request.wanted),
            file=str(file),
        )
    rows = match_classes(foreign.names, request.wanted, request.mapping, str(file))
    given = folder / PICTURES
    pictures = list(np.load(given, allow_pickle=False)) if given.exists() else []
    adapted: Adapted = adapt(foreign, rows, request, pictures, max_bytes=request.memory_bytes)
    check_answers(adapted.model, pictures_for(pictures, adapted.side), str(file))
    ir.describe(
        adapted.model,
        classes=request.wanted,
        precision=adapted.precision,
        geometry=(adapted.side.height, adapted.side.width, adapted.placement),
    )
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
        family=adapted.family,
        pixels=adapted.pixels,
        height=adapted.side.height,
        width=adapted.side.width,
        placement=adapted.placement,
        precision=adapted.precision,
        boxes=adapted.boxes,
        usual=adapted.usual,
        scores=adapted.scores,
        background=adapted.background,
        questions=adapted.questions,
        called={name: foreign.names[row] for name, row in zip(request.wanted, rows, strict=True)},
    )


if __name__ == "__main__":
    main()
