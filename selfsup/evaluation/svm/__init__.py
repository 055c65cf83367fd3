"""Linear SVMs on frozen features: the full and the low-shot protocol of VOC2007.

`voc07.py` holds both protocols and what they ask of a solver; `voc07_labels.py` and `files.py` read what they need,
`average_precision.py` judges. Two solvers agree: `liblinear.py` is the documented route, `batched.py` the fast one. The latter deals
problems out to `newton.py` (many SVMs on the same samples) and `kernel.py` (few samples, many costs).
"""
