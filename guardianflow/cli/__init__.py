"""The command line: thin commands over the domain; `main` is the border where errors end.

Which file holds which command:

    run            run
    importing      import
    promote        promote
    approvals      pending, approve, reject
    rollback       rollback, drill
    dataset        dataset check
    dataset_write  dataset split, dataset convert
    scenario       scenario init
    trainer        trainer list
    weights        weights fetch, weights import, weights list
    health         health report, health show
    show           models, history, status
    export_errors  export-errors
    doctor         doctor, repair
    measure        measure, compare
    approver       approver add, approver list, approver remove
    start          guardianflow alone

Beside them: `app` (assembles them; exit codes), `options` (that several take), `output` (all that
is printed), `opening` (of servers), `quick` (answers within a second), `comparison_words` (what
`compare` says first).
"""

from guardianflow.cli.app import main

__all__ = ["main"]
