"""Methods that draw the views of an image together: BYOL, Barlow Twins, DINO, LeJEPA, SimSiam, VICReg."""
