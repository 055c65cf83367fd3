"""Methods that tell an image from other images: DenseCL, MoCo, MoCo v3, NNCLR, NPID, SimCLR.

`queue.py` is a queue of embeddings, `in_batch.py` the contrast within a global batch; the other files hold one method each.
"""
