"""From an observation to action chunks: hold, the scripted expert, SmolVLA ensembles."""
