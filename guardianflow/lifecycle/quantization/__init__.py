"""Quantization: a registered FP32 version becomes a variant for the edge box.

source                                  which version of the base is quantized
runner -> variants -> calibration       the IR of the variant; the images that set its ranges
       -> remeasuring                   its speed on the machine at hand
"""

from guardianflow.lifecycle.quantization.runner import QuantizationRunner, QuantizedModel
from guardianflow.lifecycle.quantization.source import choose_source

__all__ = ["QuantizationRunner", "QuantizedModel", "choose_source"]
