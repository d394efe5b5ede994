"""The release of a base and its variants: what moves aliases, and the rules and the log behind it.

    request.py     who asks for what                        (data)
    state.py       release state, record, decision, drift   (data)
    rotation.py    the rules: state + request -> next state, or a refusal   (pure; refusals.py)
    ledger.py      the write-once log of operations on MLflow
    mirror.py      what the ledger says, as a tag on the base model
    observation.py reads a release: head, aliases, versions, files
    operations.py  read -> decide -> commit -> project; what is done again after a crash
    projection.py  aliases -> tags -> mirror -> done
    aliases.py     the only writes of aliases

`guardianflow.registry.ModelRegistryManager` is the public face of all this.
"""
