"""The embedded data set: drawn welding-zone scenes with exact labels, seeded.

writing -> scene -> hall, worker -> figure -> canvas     what is there
-> light                                how a camera sees it, day or night
"""

from guardianflow.vision.synthetic.writing import (
    draw_dataset,
    draw_frame,
    draw_window,
    drawing_digest,
)

__all__ = ["draw_dataset", "draw_frame", "draw_window", "drawing_digest"]
