"""What frozen features and trained models are worth: measures, without a run around them.

`features.py` gives one vector per image, from one or many processes; `knn.py` and `few_shot.py` classify with them. Shelves: `svm/`
(VOC2007 by linear SVMs), `linear/` (linear classifiers on cached features), `detection/` (average precision of detectors), `results/`
(numbers as files, and tables of them), `analysis/` (size, speed, receptive field). Around them: which labelled images a protocol reads
(`labelled.py`), whether classes mean the same on both sides (`class_names.py`), which files can be read (`readable.py`), and features as
files (`layer_features.py`, `extracted.py`, `arrays.py`); `inputs.py` makes tensors of what measures are given.

Start with `features.py` and `knn.py`. To add a measure: a function of tensors beside `knn.py`, its arguments held by
`selfsup.arguments.checked`.
"""
