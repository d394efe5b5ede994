"""Orchestration: the Prefect server, seen from outside a flow; nothing else here knows Prefect.

control    submits and follows flow runs, lists and answers approvals, sends events
connection the border: makes the client, turns its errors into ours
listing    asks for flow runs: by key, by id, of one flow
answers    hands over a person's answer, or says why it was not taken
logs       what flow runs say, passed on line by line
flowruns   flow runs and waiting approvals                          (data)
machinery  automations, deployments, work pools                     (data)
telling    which events make a message, its words and its link      (data)
"""
