"""What torch operations do on maps: one file per kind of operation, both paths of an operation beside each other.

| file | operations |
|---|---|
| `pointwise.py` | every number for itself: activations, arithmetic, comparisons, changes in place |
| `norms.py` | batch, layer, group, instance and response norms; `normalize`, dropout of channels |
| `statistics.py` | sums, means, variances, extremes, softmax, p-norms: over channels, or over visible positions |
| `shapes.py` | order and regrouping of axes; joining, cutting and indexing channels |
| `channels.py` | linear layers and other products over channels, einsum, GLU, shuffles |
| `convolutions.py` | convolutions, and the padding before them |
| `scales.py` | to another number of positions: poolings, interpolation, transposed convolutions, pixel shuffles |

`windows.py` has the geometry of what looks beyond a position.

A rule gets the arguments of the operation and gives a map or a plain tensor. `@rule('name')` serves both paths and computes on `x.stored`,
whatever that is; `@rule('name', path='visible')` and `@rule('name', path='masked')` stand where the two compute differently.
"""
