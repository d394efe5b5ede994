"""Quantization: a registered FP32 version becomes a variant for the edge box.

runner -> variants -> calibration       the IR of the variant; the images that set its ranges
       -> remeasuring                   its speed on the machine at hand
"""

from guardianflow.quantization.runner import QuantizationRunner, QuantizedModel, choose_source

__all__ = ["QuantizationRunner", "QuantizedModel", "choose_source"]
