"""The embedded detector in torch: network, loss, batches, training loop and stored weights.

fitting -> detector, assignment         the loop; what a network answers, and its loss
        -> architectures -> csp, nanodet    our own network, and one that can start trained
        -> batches -> augmentation      what it learns from; loading makes batches ahead
        -> optimization, device         Muon and AdamW; where and in which number format
        -> checkpoint -> history        what a killed training goes on with
        -> weights                      best.pt, and a start from other classes
        -> pretrained                   weights trained on COCO
"""
