"""Importing: a detector that another trainer made is brought in and registered as @candidate.

handmade -> runner      what was kept in MLflow by hand, or a file

Where it comes from: `evaluation/import_source.py`. Files are read by `vision/ir/`.
"""

from guardianflow.lifecycle.importing.runner import ImportedModel, ImportOptions, ImportRunner

__all__ = ["ImportOptions", "ImportRunner", "ImportedModel"]
