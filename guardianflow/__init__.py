"""guardianflow: the model lifecycle for safety vision on factory floors.

A room knows those below it, never one above; of those joined by | none knows another
(pyproject.toml checks it; decision 0036):

    cli             the commands
    | training      `TrainingRunner` under its public name
    | quantization  `QuantizationRunner` under its public name
    monitoring      what is wrong with releases, what is mended, the drill of a rollback
    promotion       a candidate is measured, shown to people, answered, moved
    | health        is a champion failing, and what follows
    | lifecycle     a version is made: train, quantize, import
    evaluation      registered versions on frozen images; the gate that judges them
    registry        versions come in, are promoted and rolled back: rotation/ over ledger/
    mlflow_store    the way to MLflow: models, versions, files, runs, records
    | prefect_api   the way to Prefect, seen from outside a flow
    vision          images, detectors and figures; knows no server
    scenario        the settings of one zone, in versions
    | events        what is sent to Prefect for others to build on
    machine         this computer: whole files, private files, where the servers are
    names           names of models: customer, plant, zone, task, variant
    | stored        how what outlives the code is versioned and read
    errors          every way of saying no
    wording         words for people, in English and Korean
    | progress      how far a long step is
"""

__version__ = "0.2.0"
