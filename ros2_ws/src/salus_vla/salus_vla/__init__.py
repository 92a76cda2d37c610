"""SALUS: watch a vision-language-action policy drive a robot arm, say how unsure it is, record everything."""

__version__ = "0.1.0"
