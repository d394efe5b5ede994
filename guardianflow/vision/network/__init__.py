"""The embedded detector in torch: the network, its loss, its batches and the loop that trains it.

detector <- assignment <- fitting -> batches -> augmentation     weights: what is kept of it
"""
