"""Imported for what it does: it reads the models of the services that 00 asks, EC2's the largest.

Imported in a thread of the warm kernel (`execution.warm`), while the sandbox starts.
"""

from keyrunbook.aws.clients import read_ahead

read_ahead("kms", "imagebuilder", "cloudtrail", "iam", "macie2", "sso-admin", "ec2")
