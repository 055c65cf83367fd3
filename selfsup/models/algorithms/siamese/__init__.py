"""Methods that draw the views of an image together without negatives: BarlowTwins, BYOL, SimSiam, VICReg."""
