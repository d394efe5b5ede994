"""The release of a base and its variants: what moves aliases, and the rules and the log behind it.

    request.py     who asks for what                        (data)
    state.py       release state, record, decision, drift   (data)
    rotation.py    the rules: state + request -> next state, or a refusal   (pure; refusals.py)
    ledger.py      the write-once log of operations on MLflow
    operations.py  read -> decide -> commit -> aliases -> tags -> done
    aliases.py     the only writes of aliases

`guardianflow.registry.ModelRegistryManager` is the public face of all this.
"""
