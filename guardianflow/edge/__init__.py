"""What the edge box runs: the OpenVINO IR, how it is made and how it looks at frames.

ir          torch network -> FP32 IR
compression FP32 IR -> INT8 IR, FP16 IR
processing  plain IR -> edge IR, which takes frames and answers boxes
serving     frames -> IR -> detections; runs where neither torch nor guardianflow is installed
"""
