"""Vision: images, detectors and figures. Nothing here knows a server.

synthetic  drawn scenes with exact labels
data       data sets: read, checked, fingerprinted
network    the embedded detector in torch
ir         the OpenVINO model: made, adapted from others, compressed, served
metrics    how good and how fast detections are, and pictures of both
"""
