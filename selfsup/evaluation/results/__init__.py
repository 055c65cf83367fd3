"""Results as data, and the tables made from them."""
