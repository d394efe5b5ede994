"""Evaluation: registered versions, measured alone or beside each other on the same frozen images.

    measurement         one version on labelled frames
    trial               one version on one frame: does it answer at all?
    subjects            a version beside its champion, with all that the gate asks about it
    version_comparison  any two versions

The arithmetic of the figures, which knows no registry, is `measuring/`.
"""
