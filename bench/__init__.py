"""What durability costs: the P0 incident on Temporal, against the same steps without it and a no-op workflow."""
