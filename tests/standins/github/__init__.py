"""A stateful stand-in for the part of GitHub that a rollback needs, judged by GitHub's published description."""
