"""The release of a base and its variants: what moves aliases, and the rules and the log behind it.

    request.py     who asks for what                        (data)
    state.py       release state, record, decision, drift   (data)
    rotation.py    the rules: state + request -> next state, or a refusal   (pure; refusals.py)
    ledger.py      the write-once log of operations on MLflow
    entry.py       one operation as text                    (pure)
    index.py       where the ledger is, and which run holds whose operations
    write_once.py  params that are written once, and whether a server keeps them so
    rights.py      what the account may do on a server with accounts
    mirror.py      what the ledger says, as a tag on the base model
    observation.py reads a release: head, aliases, versions, files
    operations.py  read -> decide -> commit -> project; what is done again after a crash
    projection.py  aliases -> tags -> mirror -> done
    aliases.py     the only writes of aliases

`guardianflow.registry.ModelRegistryManager` is the public face of all this.
"""
