"""Evidence for people: on what a promotion is decided, in words, tables and pictures.

    sentences    the line that everything begins with; what changes for the floor
    checks       what the automatic check says, and what it did not look at
    tables       figures of champion and candidate beside each other, with intervals
    pictures     crops of what only one of the two got right
    lineage      from which data, run and code a version was made
    numbers      figures and intervals as people read them
    floor_words  classes, places and tasks as the floor calls them

`promotion/page.py` puts them together. The page lies in MLflow as the record; the Prefect UI shows
the same.
"""
