"""What operators edit in the Prefect UI; `python -m prefect block register -m blocks` registers it.

No `from blocks import *` elsewhere: flows load a document by its name, secrets never travel
in a parameter.
"""

from blocks.approval_policy import ApprovalPolicy
from blocks.mlflow_credentials import MlflowCredentials
from blocks.scenario_config import ScenarioConfig

__all__ = ["ApprovalPolicy", "MlflowCredentials", "ScenarioConfig"]
