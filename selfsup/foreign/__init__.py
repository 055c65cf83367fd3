"""Documented commands of other code bases, told as a config of ours and the command that runs it here.

    shell        a command line: launcher, program, words
    flags        the table of a program's flags, and how words become values
    settings     where a value stands in a config, and what differs between two configs
    translation  the walk from a command to a `Translation`
    timm_flags   flags that ConvNeXt V2's fine-tuning and SLaK share
    spark, convnext_v2, slak, openselfsup, detectron2   one code base each
    programs     which program of which code base a command starts
    page         the tables of docs/coming_from.md

To add a code base: write a file with a `Program` for each of its scripts, whose flags carry name, kind, documented default and what they
do to a config; name it in `programs.py`; add its documented commands to tests/foreign and its table to the page.
"""

from .programs import translate
from .translation import Row, Translation

__all__ = ['Row', 'Translation', 'translate']
