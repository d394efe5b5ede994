"""The way to Prefect, seen from outside a flow; nothing else here knows Prefect.

client        the one place where a client is made and its errors become ours
control       submits and follows flow runs, lists and answers approvals, sends events
listing       asks for flow runs: by key, by id, of one flow
answers       hands over a person's answer, or says why it was not taken
logs          what flow runs say, passed on line by line
flowruns      flow runs and waiting approvals                          (data)
prefect_yaml  what prefect.yaml describes: deployments, work pools     (data)
server_state  what of it is there: automations, deployments, pools     (data)
notifications which events make a message, its words and its link      (data)
"""
