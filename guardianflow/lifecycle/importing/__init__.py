"""Importing: registers a detector that another trainer made as @candidate.

handmade -> runner      a model that was logged to MLflow by hand, or a file
options                 what a person says about it
trials                  what the file leaves open, tried on labelled images

`evaluation/import_source.py` records where it comes from; `vision/ir/` reads the files.
"""

from guardianflow.lifecycle.importing.options import ImportOptions
from guardianflow.lifecycle.importing.runner import ImportedModel, ImportRunner

__all__ = ["ImportOptions", "ImportRunner", "ImportedModel"]
