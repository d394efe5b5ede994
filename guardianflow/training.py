"""The runner under the public name that it has had from the beginning."""

from guardianflow.lifecycle.training import TrainedModel, TrainingRunner

__all__ = ["TrainedModel", "TrainingRunner"]
