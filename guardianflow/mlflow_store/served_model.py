"""The model folder that MLflow loads and serves: IR, weights, and the code that runs them."""

import warnings
from importlib.metadata import version
from pathlib import Path

# What a model needs on the edge box, in the versions that it was measured with.
_SERVED_PACKAGES = ("mlflow", "openvino", "numpy", "pillow")


def save_pyfunc(
    folder: Path, ir: Path, edge: Path, weights: Path | None, *, run_id: str, model_id: str
) -> None:
    """Write a model folder that MLflow loads and serves without torch and guardianflow."""
    import numpy as np
    from mlflow import pyfunc
    from mlflow.models import Model, ModelSignature
    from mlflow.types import Schema, TensorSpec

    from guardianflow.vision.ir import serving

    artifacts = {"ir": str(ir), "edge": str(edge), **({"weights": str(weights)} if weights else {})}
    # Unnamed, so that MLflow accepts a plain array.
    frames = TensorSpec(np.dtype(np.uint8), (-1, -1, -1, 3))
    with warnings.catch_warnings():
        # An example is a whole frame, larger than the model.
        warnings.filterwarnings("ignore", r".*An input example was not provided", UserWarning)
        pyfunc.save_model(
            folder,
            python_model=str(Path(serving.__file__)),
            artifacts=artifacts,
            signature=ModelSignature(inputs=Schema([frames])),
            # Inferring them would take seconds and import the model again.
            pip_requirements=[f"{name}=={version(name)}" for name in _SERVED_PACKAGES],
            # None: the thresholds of the IR. Only settings that are listed can be overridden.
            model_config={"inference_precision": "f32", "threads": 1, "score_threshold": None},
            mlflow_model=Model(run_id=run_id, model_uuid=model_id, model_id=model_id),
        )
