"""Training: what a scenario describes is trained and registered as @candidate, once.

runner -> starting -> kept_weights      with which weights it begins; those trained elsewhere
       -> continuation                  epochs, checkpoints; goes on where a killed one stopped

The network and the loop over its batches are `vision/network/`.
"""

from guardianflow.lifecycle.training.runner import TrainedModel, TrainingRunner

__all__ = ["TrainedModel", "TrainingRunner"]
