"""The ledger: the write-once log of operations on a release, kept in MLflow.

log         operations are appended and read; a long ledger goes on in a new run
head        the newest operation, and what was read with it            (pure)
entry       one operation as text                                   (pure)
runs        the MLflow runs that hold the operations of a release
index       where the ledger is, and which run holds whose operations
write_once  params that are written once, and whether a server keeps them so
mirror      what the last operation says, as a tag on the base model
"""
