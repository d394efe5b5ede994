"""Importing: a detector that another trainer made is brought in and registered as @candidate.

handmade -> runner      what was kept in MLflow by hand, or a file

Its origin is kept with its run: `tracking/origin.py`. Files are read by `edge/`.
"""

from guardianflow.importing.runner import ImportedModel, ImportOptions, ImportRunner

__all__ = ["ImportOptions", "ImportRunner", "ImportedModel"]
