"""Frozen networks that a student learns from. Importing this registers them.

    teacher.py     what all are: their settings, the way in (`view.py`), the precision they run in, what they answer
    timm_teacher.py   torchvision_teacher.py   file_teacher.py      where the network comes from
    stored.py      answers on disk, for views that never change

A teacher is no `nn.Module`: the method that asks it has neither its weights among its own nor in its checkpoints, and DDP and moving
averages do not see them. To add a source of networks: a file beside `timm_teacher.py`, registered in `TEACHERS`.
"""

from .file_teacher import FileTeacher
from .stored import StoredAnswers
from .teacher import Answer, Teacher
from .timm_teacher import TIMMTeacher
from .torchvision_teacher import TorchvisionTeacher

__all__ = ['Answer', 'FileTeacher', 'StoredAnswers', 'TIMMTeacher', 'Teacher', 'TorchvisionTeacher']
