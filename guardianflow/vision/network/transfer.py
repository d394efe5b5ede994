"""Initial weights from a detector with other classes."""

from collections.abc import Sequence

import torch

from guardianflow.vision.network.detector import Detector, DetectorShape

# The last layer of each head has a row per class. Classes share all other layers.
_PER_CLASS = (".logits.weight", ".logits.bias")


def carry_over(
    source: Detector,
    known: Sequence[str],
    shape: DetectorShape,
    classes: Sequence[str],
    *,
    seed: int,
) -> Detector:
    """Make a detector with the weights of another one; new classes start with random weights.

    Args:
        source: The other detector, of the same width; its input size may differ.
        known: Class names of the source, in the order of their indices.
        shape: Shape of the new detector.
        classes: Class names of the new detector, in the order of their indices.
        seed: Seed of the weights of new classes.

    Raises:
        ValueError: A layer is missing in the source, or has another shape.
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
