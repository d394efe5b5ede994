"""Training: what a scenario describes is trained and registered as @candidate, once.

runner -> starting -> kept_weights      with which weights it begins; those trained elsewhere
       -> continuation                  epochs, checkpoints; goes on where a killed one stopped
       -> foreign -> workshop           a trainer of another project, in a process of its own
                  -> trainers           which ones this machine has
       -> trained                       what is left in MLflow, whoever trained

The network and the loop over its batches are `vision/network/`.
"""

from guardianflow.lifecycle.training.runner import TrainingRunner
from guardianflow.lifecycle.training.trained import TrainedModel

__all__ = ["TrainedModel", "TrainingRunner"]
