"""The block with the address of MLflow and the account of the flows."""

import os
from typing import TYPE_CHECKING, ClassVar, Self

from prefect.blocks.core import Block
from pydantic import ConfigDict, Field, HttpUrl, SecretStr, field_validator, model_validator

if TYPE_CHECKING:
    from mlflow import MlflowClient

DEFAULT_DOCUMENT = "guardianflow-mlflow"


class MlflowCredentials(Block):
    """Address of an MLflow server, and user and password or a token if it requires them.

    Anyone with access to the Prefect API can read the secrets.

    Example:
        Load the credentials and list what is registered:
        ```python
        from blocks import MlflowCredentials

        credentials = MlflowCredentials.load("BLOCK_NAME")
        client = credentials.get_client()
        print(client.search_registered_models())
        ```
    """

    _block_type_name: ClassVar[str | None] = "MLflow Credentials"
    _block_type_slug: ClassVar[str | None] = "mlflow-credentials"
    _description: ClassVar[str | None] = (
        "Where MLflow is, and the account with which guardianflow's flows use it."
    )
    _documentation_url: ClassVar[HttpUrl | None] = HttpUrl(
        "https://mlflow.org/docs/latest/self-hosting/security/basic-http-auth/"
    )

    # A secret may have been typed into the wrong field.
    model_config = ConfigDict(hide_input_in_errors=True)

    tracking_uri: str = Field(
        default=...,
        title="Tracking URI",
        pattern=r"^https?://[^@]+$",
        # Links, logs and artifacts show the address.
        description="Address of the MLflow server without user or password, "
        "e.g. http://127.0.0.1:5000.",
    )
    username: str | None = Field(
        default=None, description="User of the server's basic authentication."
    )
    password: SecretStr | None = Field(default=None, description="Password of that user.")
    token: SecretStr | None = Field(
        default=None, description="Bearer token, instead of user and password."
    )

    @field_validator("tracking_uri")
    @classmethod
    def _without_slash(cls, value: str) -> str:
        return value.rstrip("/")

    @model_validator(mode="after")
    def _one_account(self) -> Self:
        if (self.username is None) != (self.password is None):
            raise ValueError("user and password belong together")
        if self.token is not None and self.username is not None:
            raise ValueError("give either a token, or user and password")
        return self

    def environment(self) -> dict[str, str]:
        """Return the environment variables of MLflow's client for this server and account.

        The values are not encrypted: use them only for the environment of a process, never in a
        parameter, a log or an artifact.
        """
        variables = {"MLFLOW_TRACKING_URI": self.tracking_uri}
        if self.username is not None and self.password is not None:
            variables["MLFLOW_TRACKING_USERNAME"] = self.username
            variables["MLFLOW_TRACKING_PASSWORD"] = self.password.get_secret_value()
        if self.token is not None:
            variables["MLFLOW_TRACKING_TOKEN"] = self.token.get_secret_value()
        return variables

    def activate(self) -> None:
        """Make this process use the server and account, instead of any previous account."""
        for name in ("USERNAME", "PASSWORD", "TOKEN"):
            os.environ.pop(f"MLFLOW_TRACKING_{name}", None)
        os.environ.update(self.environment())

    def get_client(self) -> "MlflowClient":
        """Return a client of the server.

        MLflow reads accounts only from the environment, so this calls `activate`.
        """
        from mlflow import MlflowClient

        self.activate()
        return MlflowClient(self.tracking_uri)
