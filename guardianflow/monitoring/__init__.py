"""Looks after releases: finds what is wrong, mends what is safe, rehearses the way back.

survey          which releases there are: one listing of all models
findings        what can be wrong, in words, with the command that mends it   (pure)
caveats         what people should know although nothing is broken   (pure)
doctor          examines releases and gives findings; writes nothing
reconciliation  one pass over all: mends what is safe to mend, reports the rest
silence         champions without recent reports
prefect_checks  what is wrong with Prefect's automations, deployments and workers   (pure)
alarms          each sent once, and once more when it is over; pass_memory: what passes remember
overview        which version runs where, since when, and who promoted it
retention       deletes pictures of people when their time is over
drill           rehearses a rollback without moving an alias; drill_report: what it found
"""
