"""The runner under the public name that it has had from the beginning."""

from guardianflow.lifecycle.quantization import QuantizationRunner, QuantizedModel, choose_source

__all__ = ["QuantizationRunner", "QuantizedModel", "choose_source"]
