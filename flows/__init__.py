"""The order of steps, retries, suspensions and events; no arithmetic, no rules.

training, quantization, lifecycle  `train`, `quantize`, and `lifecycle`, which runs both
promotion -> approval_form         `promote`: propose -> people answer -> decide
          -> promotion_pages       the evidence and the decision, for people
health                             `check-health`: a champion on recent frames -> report -> event
rollback, drill                    `rollback`, and its rehearsal
reconcile -> questions             `reconcile`: promotions that end without a decision
          -> alarms                what is wrong, told once, and once more when it is over
          -> retention             pictures and flow runs whose time is over
          -> status_page           which version runs where
parameters                         the types of all flow parameters
registry_access, scenario_blocks   read what is saved on the Prefect server
retries                            which failures are tried again, under one token
publishing                         tables, pages, pictures, progress and events
"""
