"""Pictures of what a model sees and learns, as PNG files.

Plain functions of arrays, images and numbers, called by tools and hooks; nothing here trains or loads. `drawing.py` is what all share:
colours, text, images in squares, how a figure is begun and written. With Pillow: `views.py` (a grid of images, which `reconstruction.py`
and `detections.py` fill in their ways) and `neighbours.py`. With matplotlib, imported where it is drawn: `curves.py`,
`receptive_field.py`, `report.py`. A new picture is a file with a function that takes `out_png` and returns `save_figure(...)`.
"""
