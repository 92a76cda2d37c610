"""Configuration: contract.yaml as models, profiles, parameters, the settings of a run, and where the files are."""
