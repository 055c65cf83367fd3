"""Methods that draw the views of an image together without negatives: BYOL, DINO, LeJEPA."""
