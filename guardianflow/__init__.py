"""guardianflow: the model lifecycle for safety vision on factory floors.

A package knows those below it, never one above (pyproject.toml checks it; decision 0024):

    cli             the commands
    care            what is wrong with releases, what is mended, the rehearsal of a rollback
    promotion       measured, judged, shown, answered, moved           | health   of a champion
    evidence        what people decide on                              | training
                    quantization                                       | importing
    evaluation      registered versions, measured on frozen images
    tracking        MLflow runs and what they keep                     | gate     the rules
    measuring       figures        network  the detector in torch        edge     the IR
    data            data sets, checked                                   synthetic  drawn ones
    registry        versions come in, are promoted, rolled back        | approval   who may say yes
    release         what moves aliases, the rules and the log behind it
    catalog         the registered models, read
    orchestration   the Prefect server, seen from outside
    scenario        what is trained, judged and watched for one zone

The modules beside them are ground for all: errors, names, events, the way to the servers
(servers, connection, records), what outlives the code (stored), and words for people (wording,
markdown, links, progress).
"""

__version__ = "0.1.0"
