"""Evaluation: registered versions, measured on frozen images, and the gate that judges them.

measurement         one version on labelled frames
trial               one version on one frame: does it work at all?
subjects            a version beside its champion, with all that the gate asks about it
version_comparison  any two versions
version_cost        what two versions cost here: time per frame, files, memory
memory              how much memory a version takes, told by a process of its own
speed               what a variant costs, and whether it is faster than its base
variant_records     both, as the variant's run keeps them
run_reports         the files that a run keeps about a measured detector
import_source       where an imported detector comes from
gate/               rules with thresholds; measures nothing itself
"""
