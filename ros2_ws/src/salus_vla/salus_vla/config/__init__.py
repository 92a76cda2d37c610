"""Configuration: contract.yaml as models, profiles, parameters, settings of a run, and where the files are."""
