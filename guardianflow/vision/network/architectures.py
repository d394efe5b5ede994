"""Makes the network of a shape."""

from typing import assert_never

from guardianflow.vision.network.csp import CspDetector
from guardianflow.vision.network.detector import Architecture, Detector, DetectorShape
from guardianflow.vision.network.nanodet import NanodetDetector


def make_detector(shape: DetectorShape) -> Detector:
    """Make a detector with random weights."""
    match shape.architecture:
        case Architecture.CSP:
            return CspDetector(shape)
        case Architecture.NANODET_G:
            return NanodetDetector(shape)
        case _:
            assert_never(shape.architecture)
