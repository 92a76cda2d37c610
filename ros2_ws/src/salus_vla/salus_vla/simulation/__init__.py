"""Simulators of the contract: MuJoCo in this process, Isaac Sim in its own; and whether one keeps the contract."""
