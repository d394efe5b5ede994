"""The embedded data set: welding-zone scenes with exact labels, drawn from a seed.

writing -> scene -> hall, worker -> figure -> canvas     the objects
                 -> light                                how a camera sees them by day or night
"""

from guardianflow.vision.synthetic.writing import (
    draw_dataset,
    draw_frame,
    draw_window,
    drawing_digest,
)

__all__ = ["draw_dataset", "draw_frame", "draw_window", "drawing_digest"]
