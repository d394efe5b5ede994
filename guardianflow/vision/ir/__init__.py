"""The OpenVINO model (IR): made from a network, adapted from others, compressed, served.

ir           torch network -> FP32 IR
compression  FP32 IR -> INT8 IR, FP16 IR
processing   plain IR -> edge IR, which takes frames and answers boxes
serving      frames -> IR -> detections; runs where neither torch nor guardianflow is installed

Detectors of other trainers:
foreign      opens the file, never as code -> onnx_file, reading
adaptation   rebuilds its graph to take and answer what ours does -> layouts, geometry, bounds
confinement  all of that in a child process with bounds -> confined
"""
