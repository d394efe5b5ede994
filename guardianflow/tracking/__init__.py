"""Tracking: the MLflow runs of trainings, quantizations and imports, and what they keep.

runs    opened, filled, finished, found again
papers  what a run keeps about a detector that was measured on the test split
origin  where an imported detector comes from
"""
