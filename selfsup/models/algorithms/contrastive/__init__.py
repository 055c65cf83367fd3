"""Methods that tell an image from other images: MoCo, SimCLR, NPID."""
