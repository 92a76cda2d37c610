"""All members in one batch: prefix, action experts, acceleration, and the ensemble as a policy."""
