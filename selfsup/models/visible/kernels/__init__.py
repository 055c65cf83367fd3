"""The layers that do the arithmetic on visible blocks: convolutions, GRN, ReLU after a batch norm."""
