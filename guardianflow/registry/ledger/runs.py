"""The MLflow runs in which the operations of one release lie, as the ledger's index names them.

A run holds a fixed count of operations; the next one is made when it is full. Several writers may
make it at once: the index elects one of theirs.
"""

from collections.abc import Iterator
from contextlib import suppress

from mlflow import MlflowClient
from mlflow.entities import Run, ViewType

from guardianflow.errors import PermissionDenied
from guardianflow.mlflow_store.client import border
from guardianflow.names import ModelName
from guardianflow.registry.ledger.entry import Former
from guardianflow.registry.ledger.index import (
    Index,
    create_index,
    find_index,
    key_of,
    read_index,
    runs_of,
)
from guardianflow.registry.ledger.write_once import no_right, require_write_once, write_once

FORMER = "former"
"""The param of a run that says what is known of those before it."""
_NAME_TAG = "guardianflow.name"
_PAGE = 1000


class LedgerRuns:
    """The ids of the runs of one release, in the order of their operations."""

    def __init__(self, client: MlflowClient, base: ModelName, what: str) -> None:
        self._client = client
        self._base = base
        self._what = what
        self._index: Index | None = None
        self._ids: list[str] = []
        self._is_fit = False

    def __len__(self) -> int:
        return len(self._ids)

    def __getitem__(self, segment: int) -> str:
        return self._ids[segment]

    def find(self) -> None:
        """Read from the index which runs hold this release's operations."""
        if self._index is None:
            self._index = find_index(self._client)
        if self._index is not None:
            self._ids = runs_of(self._index, read_index(self._client, self._index), self._base)

    def make_ready(self, *, anew: bool) -> Index:
        """The index, made if there is none yet, on a server that can keep a ledger.

        `anew`: a person decided to go on without the ledger that there was.

        Raises:
            BackendUnfit: Params of this server do not stay as first written.
            PermissionDenied: The account may not make it ready.
        """
        if self._index is None:
            self._index = create_index(self._client, anew=anew)
        if not self._is_fit:
            require_write_once(self._client, self._index.experiment_id, self._index.tags)
            self._is_fit = True
        return self._index

    def create_next(self, index: Index, former: Former) -> None:
        """Make the next run, or take the one that another process made."""
        segment = len(self._ids)
        try:
            with border(f"create {self._what}"):
                run = self._client.create_run(
                    index.experiment_id,
                    run_name=f"{self._base.public} #{segment}",
                    tags={_NAME_TAG: self._base.public},
                )
        except PermissionDenied as error:
            raise no_right(self._what) from error
        mine = run.info.run_id
        if segment > 0:
            write_once(self._client, mine, FORMER, former.to_line(), self._what)
        key = key_of(self._base, segment)
        elected = write_once(self._client, index.run_id, key, mine, self._what).data.params[key]
        # Deleting needs more rights than writing: else it stays, empty and without meaning.
        with suppress(PermissionDenied), border(f"create {self._what}"):
            if elected == mine:
                self._client.update_run(mine, status="FINISHED")
            else:
                self._client.delete_run(mine)
        self._ids.append(elected)

    def lost(self) -> Iterator[Run]:
        """The runs that say to be of this base, deleted or not, and are not named by the index."""
        token: str | None = None
        while self._index is not None:
            with border(f"look for runs of {self._what}"):
                page = self._client.search_runs(
                    [self._index.experiment_id],
                    f"tags.`{_NAME_TAG}` = '{self._base.public}'",
                    ViewType.ALL,
                    max_results=_PAGE,
                    page_token=token,
                )
            yield from (run for run in page if run.info.run_id not in self._ids)
            token = page.token
            if not token:
                return
