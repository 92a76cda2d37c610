"""Recorded episodes as a LeRobotDataset v3, which `lerobot-train` and every reader of LeRobot load.

sources.py      which episodes of which runs are exported, and which are left out
reading.py      an episode of a bag or of a rollout, the same to what follows
actions.py      what the arm was told, one row per decision
pictures.py     PNG, video, resizing
prepare.py      all of that for one episode; runs in worker processes
statistics.py   mean, spread and quantiles in LeRobot's form
writer.py       the files
export.py       from runs to a folder
info.py         what is in a folder
"""
