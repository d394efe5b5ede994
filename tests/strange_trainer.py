"""A trainer as another project would write one: it knows nothing of guardianflow, or of pytest.

    python strange_trainer.py train --data DIR --out DIR --epochs N --onnx FILE [--resume] [--wait]
    python strange_trainer.py export --out DIR --to FILE

It "learns" by copying a detector that was given to it. At its second epoch it may wait for ever,
with a child beside it, so that a test can end it.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path


def train(options):
    """Count the epochs, as far as nobody kills it."""
    kept = options.out / "last.json"
    first = json.loads(kept.read_text())["epoch"] + 1 if options.resume else 1
    print(f"{'resumed at' if options.resume else 'new, from'} epoch {first}", flush=True)
    seen = sorted(str(path.relative_to(options.data)) for path in options.data.rglob("*.*"))
    (options.out / "seen.json").write_text(json.dumps(seen))
    for epoch in range(first, options.epochs + 1):
        print(f"epoch {epoch} of {options.epochs}", flush=True)
        kept.write_text(json.dumps({"epoch": epoch}))
        if epoch == 2 and options.wait and not options.resume:
            wait(options.out)
    shutil.copyfile(options.onnx, options.out / "learned.onnx")


def wait(out):
    """Wait for ever, with a child in the group and one that left it."""
    sleep = [sys.executable, "-c", "import time; time.sleep(3600)"]
    near = subprocess.Popen(sleep)
    away = subprocess.Popen(sleep, start_new_session=True)
    draft = out / "pids.draft"
    draft.write_text(json.dumps([os.getpid(), near.pid, away.pid]))
    draft.rename(out / "pids.json")
    time.sleep(3600)


def export(options):
    """Leave the detector where it is looked for."""
    print("exported", flush=True)
    shutil.copyfile(options.out / "learned.onnx", options.to)


def main():
    """Do what is asked."""
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=["train", "export"])
    for name in ("data", "out", "onnx", "to"):
        parser.add_argument(f"--{name}", type=Path)
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--resume", action="store_true")
    parser.add_argument("--wait", action="store_true")
    options = parser.parse_args()
    {"train": train, "export": export}[options.what](options)


if __name__ == "__main__":
    main()
