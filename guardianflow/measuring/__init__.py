"""Measuring: how good detections are, how long they take, and pictures of both.

evaluation, latency     figures
measurement             a registered version on labelled frames
pictures                what people look at
"""
