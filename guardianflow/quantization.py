"""The quantization runner under its public name."""

from guardianflow.lifecycle.quantization import QuantizationRunner, QuantizedModel, choose_source

__all__ = ["QuantizationRunner", "QuantizedModel", "choose_source"]
