"""What a layout is: the meaning of the outputs of a family of detectors."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np
import openvino as ov
from numpy.typing import NDArray

from guardianflow.vision.ir.reading import Background, BoxForm, LayoutName

Shape = tuple[int, ...]
"""Of a tensor; -1 for an open dimension."""
Answers = Sequence[NDArray[np.float32]]
"""Outputs on a few frames: for each output an array of shape (frames, ...)."""
BOX = 4


class Port(NamedTuple):
    """An output of a detector.

    Attributes:
        shape: For one frame.
        name: "" if it has none.
        whole: Whether its elements are integers.
    """

    shape: Shape
    name: str = ""
    whole: bool = False


class InputSize(NamedTuple):
    """The size of a detector's input in pixels."""

    height: int
    width: int


class OutputSpec(NamedTuple):
    """What is known of a detector's outputs before it runs.

    Attributes:
        ports: The outputs.
        classes: Number of the detector's classes.
        side: Size of its input.
    """

    ports: Sequence[Port]
    classes: int
    side: InputSize


class Split(NamedTuple):
    """The outputs of a detector, told apart.

    Attributes:
        cells: Shape (1, A, 4 or more): a box in the first four columns, in the detector's form.
        scores: Shape (1, A, C), or (1, A, C + 1) if one column means "no object".
    """

    cells: ov.Output
    scores: ov.Output


class Layout(Protocol):
    """The meaning of the outputs of a family of detectors.

    Attributes:
        name: Its name for `--layout`.
        meaning: The shape with its meaning, for messages.
        usual: The usual box form of such detectors.
        logits: Whether its scores may be logits.
        background: The usual place of the class for no object, if there is one.
    """

    @property
    def name(self) -> LayoutName: ...  # noqa: D102 - see the attributes above

    @property
    def meaning(self) -> str: ...  # noqa: D102

    @property
    def usual(self) -> BoxForm: ...  # noqa: D102

    @property
    def logits(self) -> bool: ...  # noqa: D102

    @property
    def background(self) -> Background: ...  # noqa: D102

    def fits(self, spec: OutputSpec) -> bool:
        """Return whether such outputs can have this layout."""
        ...

    def agrees(self, spec: OutputSpec, answers: Answers) -> bool:
        """Return whether the values of outputs that fit can have this layout."""
        ...

    def split(self, spec: OutputSpec, outputs: Sequence[ov.Output]) -> Split:
        """Tell boxes and scores apart; the outputs are float32."""
        ...
