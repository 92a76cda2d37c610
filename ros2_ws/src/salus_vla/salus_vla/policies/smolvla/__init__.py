"""Ensembles of LeRobot's SmolVLA policies: `loading` of checkpoints, batched `inference`, `init` of new ones."""
