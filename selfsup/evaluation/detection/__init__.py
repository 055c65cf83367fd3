"""Average precision of detectors: COCO's by pycocotools, VOC2007's with 11 points (`voc_ap.py`). Start with `average_precision.py`."""
