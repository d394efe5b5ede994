"""The blocks that operators edit in the Prefect UI.

mlflow_credentials  the address of MLflow and the account of the flows
approval_policy     who may approve what
scenario_config     a scenario
saved               reads them, and says what is wrong with one

`python -m prefect block register -m blocks` registers them. Flows load a saved block by its name:
secrets are never parameters.
"""

from blocks.approval_policy import ApprovalPolicy
from blocks.mlflow_credentials import MlflowCredentials
from blocks.scenario_config import ScenarioConfig

__all__ = ["ApprovalPolicy", "MlflowCredentials", "ScenarioConfig"]
