"""Runs the production rules over labelled and recorded incidents, and over simulated ones."""
