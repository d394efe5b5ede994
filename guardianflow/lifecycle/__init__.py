"""Lifecycle: the ways in which a version is made and registered as @candidate, once.

training      what a scenario describes is trained
quantization  a registered FP32 version becomes a variant for the edge box
importing     a detector that another trainer made is brought in
making        the skeleton of all three: find what was made before, make it, register it
"""
