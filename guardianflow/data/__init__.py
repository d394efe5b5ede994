"""Data sets: read, checked, fingerprinted; nothing else opens an image or a label.

yolo -> dataset     the YOLO format on disk, and what is read from it
"""
