"""The edges to AWS: clients, refusals in words, the one place that mutates, CloudTrail."""
