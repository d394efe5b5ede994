"""Vision: images, detectors and metrics. Nothing here uses a server.

synthetic  drawn scenes with exact labels
data       reads, checks and converts data sets
network    the embedded detector in torch, and its training
ir         the OpenVINO model: export, import, compression, inference
metrics    accuracy and speed of detections, and pictures of both
"""
