"""Methods with a task whose labels are made: Relative-Loc, Rotation."""
