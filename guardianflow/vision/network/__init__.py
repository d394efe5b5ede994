"""The embedded detector in torch: network, loss, batches, training loop and stored weights.

detector <- assignment <- fitting -> batches -> augmentation     weights: best.pt
"""
