"""The way in for people and machines: it verifies, translates, starts or signals, and decides nothing."""
