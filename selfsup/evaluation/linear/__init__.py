"""Linear classifiers on cached features of a frozen backbone."""
