"""Files of weights: reading them, loading them into a model, and writing them for us and for other libraries.

From a file to a model (`--pretrained`; `load.load_backbone`) and from a file to a file (tools/convert.py; `convert.convert`) are one line
that is read from top to bottom:

    read.py        the file, checked (`checksums.py`): a dict of plain tensors, or one clear error
    frame.py       what stands around the weights is taken off
    layouts/       whose layout that is, and behind which prefix the backbone stands: one file per code with names of its own
    backbone.py    `find_backbone` goes through these, leaves out what was never trained (`untrained.py`), and asks
      families/    which network it is: one record per family, which is carried on from here
      classifier.py   and which classifier it was trained with
    fit.py         names and shapes of the module that is to take them; how the two match
    load.py        into a model, with a report               | convert.py   into a network that is told from the weights (`network.py`),
                                                             | to/          which leaves in one of these forms
    write.py       a file, complete or not at all            | extract.py, publish.py, upgrade.py   other ways from file to file

`read.py`, `write.py`, `checksums.py` and `frame.py` need no network. To add a network family: one file in `families/`. Another code's
files: `layouts/`. Another form to leave in: `to/`.
"""
