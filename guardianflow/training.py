"""The training runner under its public name."""

from guardianflow.lifecycle.training import TrainedModel, TrainingRunner

__all__ = ["TrainedModel", "TrainingRunner"]
