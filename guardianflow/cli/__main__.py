"""`python -m guardianflow.cli`: the same as the console script `guardianflow`."""

from guardianflow.cli.app import main

main()
