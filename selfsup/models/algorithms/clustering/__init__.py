"""Methods that learn from clusters of the images they find: DeepCluster, ODC, SwAV."""
