"""DeepCluster's labels: `hook.py` clusters the training set between epochs, start there.

`clustering.py` is the arithmetic, PCA and k-means on plain tensors; `label_statistics.py` is what `ODCHook` uses too: sizes and changes
of clusters in the log, labels in the work dir. Another way to cluster is a function like `kmeans` in `clustering.py`.
"""

from . import hook  # noqa: F401
