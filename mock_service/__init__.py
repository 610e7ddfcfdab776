"""The patient: a mock payment-api with a bad deployment, a good one, and chaos on request."""
