"""Approval: who may say yes to a promotion, how many, proven how; and what they said.

    policy          the rules and what counts as an answer   (pure)
    stored_rules    the rules on the MLflow server, where every command finds them
    approval_log    what was asked, answered, voided and closed; which codes are spent
    one_time_codes  who has which secret, and whether a code is right and unspent

The question itself, which shows a proposal, is `promotion/question.py`.
"""
