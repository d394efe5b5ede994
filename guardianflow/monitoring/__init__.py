"""Looks after releases: what is wrong, what is mended without a person, is there a way back.

survey          which releases there are: one listing of all models
findings        what can be wrong, in words, with the command that mends it   (pure)
caveats         what a person should know about a release that is as the ledger says   (pure)
doctor          examines releases and gives findings; writes nothing
reconciliation  one pass over all: mends what is provably ours, reports the rest
silence         which champions nobody reports about any more
prefect_checks  what is wrong with Prefect's automations, deployments and workers   (pure)
alarms          sent once, and once more when over; pass_memory: what passes remember
overview        what runs where, since when, put there by whom
retention       pictures of people are deleted when their time is over
drill           rehearses a rollback without moving an alias; drill_report: what it found
"""
