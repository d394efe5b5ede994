"""Importing: registers a detector that another trainer made as @candidate.

handmade -> runner      a model that was logged to MLflow by hand, or a file

`evaluation/import_source.py` records where it comes from; `vision/ir/` reads the files.
"""

from guardianflow.lifecycle.importing.runner import ImportedModel, ImportOptions, ImportRunner

__all__ = ["ImportOptions", "ImportRunner", "ImportedModel"]
