"""The way to Prefect from outside a flow; no other package of guardianflow knows Prefect.

control        the face of it: submits and follows flow runs, answers approvals, sends events
client         makes clients, and turns their errors into ours
following      waits for a flow run to end or to ask a person; passes on what it says
listing        asks for flow runs: by key, by id, of one flow
answers        hands over a person's answer, or says why it was not taken
run_tokens     tokens of what flow runs do, the same for every attempt (data)
flowruns       flow runs and waiting approvals                          (data)
prefect_yaml   what prefect.yaml describes: deployments, work pools     (data)
server_state   what of it is there: automations, deployments, pools     (data)
notifications  which events make a message, its words and its link      (data)
"""
