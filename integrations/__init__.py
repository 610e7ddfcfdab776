"""One module per outside system; the only place that speaks a vendor's vocabulary."""
