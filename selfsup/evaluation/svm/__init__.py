"""Linear SVMs on frozen features: the VOC2007 protocols, full and low-shot, and three solvers of the same problem."""
