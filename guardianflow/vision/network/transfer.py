"""Weights for new classes, taken from a detector that knows others."""

from collections.abc import Sequence

import torch

from guardianflow.vision.network.detector import Detector, DetectorShape

# The last layer of each head: a row per class. All else is shared by the classes.
_PER_CLASS = (".logits.weight", ".logits.bias")


def carry_over(
    source: Detector,
    known: Sequence[str],
    shape: DetectorShape,
    classes: Sequence[str],
    *,
    seed: int,
) -> Detector:
    """A detector that begins with what another one learned; new classes begin at random.

    Args:
        source: The other one, of the same width; its input may have another size.
        known: Its class names, in the order of their indices.
        shape: Of the new one.
        classes: The class names of the new one.
        seed: Of the rows of classes that the source does not know.

    Raises:
        ValueError: A layer has another shape, or does not exist there.
    """
    torch.manual_seed(seed)
    detector = Detector(shape)
    theirs = source.state_dict()
    rows = [(classes.index(name), known.index(name)) for name in classes if name in known]
    state = detector.state_dict()
    for key, value in state.items():
        if key not in theirs:
            raise ValueError(f"it has no layer {key}")
        if key.endswith(_PER_CLASS):
            for own, other in rows:
                value[own] = theirs[key][other]
        elif value.shape == theirs[key].shape:
            value.copy_(theirs[key])
        else:
            raise ValueError(f"{key} is {tuple(theirs[key].shape)}, not {tuple(value.shape)}")
    return detector
