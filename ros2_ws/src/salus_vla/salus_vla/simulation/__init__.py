"""Simulators of the contract: MuJoCo here, Isaac Sim in its own process; and whether one keeps the contract."""
