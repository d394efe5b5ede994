"""guardianflow: the model lifecycle for safety vision on factory floors.

A room knows those below it, never one above (pyproject.toml checks it; decision 0036):

    cli           the commands
    monitoring    what is wrong with releases, what is mended, the drill of a rollback
    lifecycle     a version is made: train, quantize, import
    promotion     a candidate is measured, shown to people, answered, moved
    health        is a champion failing, and what follows
    evaluation    registered versions on frozen images; the gate that judges them
    registry      versions come in, are promoted and rolled back: rotation/ over ledger/
    mlflow_store  the way to MLflow: models, versions, files, runs, records
    prefect_api   the way to Prefect, seen from outside a flow
    vision        images, detectors and figures; knows no server
    scenario      the settings of one zone, in versions
    machine       this computer: whole files, private files, where the servers are
    wording       words for people, in English and Korean

Beside them: `names` (of models), `events` (that are sent), `stored` (what outlives the code),
`errors` (every way of saying no), `progress` (how far a long step is).
"""

__version__ = "0.2.0"
