"""Metrics: how good detections are, how long they take, and pictures of both.

It knows detections and frames; registered versions are measured by `evaluation/`.

detections              what a detector saw, and what an operator is shown of it
matching, precision     which detections are right; average precision
thresholds              from which score a box is shown, chosen on val
evaluation, intervals   the figures, and how sure they are
comparison              two detectors on the same images
latency                 how long a frame takes
mistakes                what was right and wrong, in words
disagreement            what only one of two detectors got right
pictures, curves, album what people look at
relabelling             the images with mistakes, for whoever labels
"""
