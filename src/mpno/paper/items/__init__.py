"""One module per item: what makes its table and its figure from its tidy tables."""
