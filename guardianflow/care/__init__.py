"""Looks after releases: what is wrong, what is mended without a person, is there a way back.

survey.py          which releases there are: one listing of all models
findings.py        what can be wrong, in words, with the command that mends it   (pure)
caveats.py         what a person should know about a release that is as the ledger says   (pure)
doctor.py          examines releases and gives findings; writes nothing
reconciliation.py  one pass over all: mends what is provably ours, reports the rest
silence.py         which champions nobody reports about any more
orchestrator.py    what is wrong with Prefect's automations, deployments and workers   (pure)
alarms.py          remembers what was reported   (notes.py)
overview.py        what runs where, since when, put there by whom
drill.py           rehearses a rollback without moving an alias   (drill_report.py)
"""
