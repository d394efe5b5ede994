"""Metrics: the accuracy and speed of detectors, and pictures of both.

It knows detections and frames; `evaluation/` measures registered versions.

detections              what a detector saw, and what an operator is shown of it
matching, precision     which detections are right; average precision
thresholds              operating thresholds, chosen on the val split
evaluation, intervals   the figures and their confidence intervals
comparison              two detectors on the same images
source_comparison       a variant and its source, as they are served
latency                 the time for a frame
mistakes                right and wrong boxes and missed objects, with reasons
agreement, disagreement what two detectors say alike; what only one of them got right
pictures, curves, album pictures for people; lettering: class names in them
relabelling             the images with mistakes, to be labelled again
camera, stillness       what is wrong with a camera rather than with a model
"""
