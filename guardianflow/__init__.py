"""guardianflow: the model lifecycle for safety vision on factory floors."""

__version__ = "0.1.0"
