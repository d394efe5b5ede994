"""What the edge box runs: the OpenVINO IR, how it is made and how it looks at frames.

ir          torch network -> FP32 IR -> INT8 IR
serving     frames -> IR -> detections; runs where neither torch nor guardianflow is installed
"""
