"""Evaluation: registered versions, measured on frozen images, and the gate that judges them.

measurement         one version on labelled frames
trial               one version on one frame: does it work at all?
subjects            a version beside its champion, with all that the gate asks about it
version_comparison  any two versions
speed               whether a variant is faster than its base, on each kind of machine
variant_cost        what a variant costs and gains
variant_records     both, as the variant's run keeps them
run_reports         the files that a run keeps about a measured detector
import_source       where an imported detector comes from
gate/               rules with thresholds; measures nothing itself
"""
