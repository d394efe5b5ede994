"""The OpenVINO model (IR): converted from a network, adapted from a file, compressed, served.

ir           torch network -> FP32 IR
compression  FP32 IR -> INT8 IR, FP16 IR -> int8_plan, what of it is left in float
processing   plain IR -> edge IR, which takes frames and answers boxes
serving      frames -> IR -> detections; runs where neither torch nor guardianflow is installed

Detectors from other trainers:
foreign      opens the file, never as code -> onnx_file, foreign_words, reading
adaptation   rebuilds its graph with our inputs and outputs -> entrance, layouts, box_form, bounds
families     what detectors of a family do that no shape tells
confinement  all of that in a child process with limits -> confined
"""

import sys

# Even `import openvino` sends an event, and only the environment variable `CI` prevents that, which
# other programs interpret, too. openvino and nncf fall back to stubs if the telemetry package is
# missing, so this process hides it.
sys.modules.setdefault("openvino_telemetry", None)  # pyright: ignore[reportArgumentType]
