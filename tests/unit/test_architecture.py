"""What import-linter cannot see: who may call the dangerous methods of MLflow."""

from pathlib import Path

import pytest

import guardianflow

ROOT = Path(guardianflow.__file__).parent.parent
PACKAGES = ("guardianflow", "flows", "blocks", "deployments")


@pytest.mark.parametrize("call", ["set_registered_model_alias", "delete_registered_model_alias"])
def test_only_one_file_writes_aliases(call):
    files = [file for name in PACKAGES for file in (ROOT / name).rglob("*.py")]
    assert len(files) > 50
    callers = {str(f.relative_to(ROOT)) for f in files if f"{call}(" in f.read_text("utf-8")}
    assert callers == {"guardianflow/registry/rotation/aliases.py"}
