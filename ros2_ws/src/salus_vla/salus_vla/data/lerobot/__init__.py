"""Recorded episodes as a LeRobotDataset v3, which `lerobot-train` and every reader of LeRobot load.

sources.py          which episodes of which runs are exported, and which are left out
actions.py          what the arm was told, one row per decision
dataset_images.py   PNG, video, resizing
prepare.py          all of that for one episode; runs in worker processes (prepare_pool.py, prepare_worker.py)
statistics.py       mean, spread and quantiles in LeRobot's form
dataset_writer.py   the files
dataset_export.py   from runs to a folder
dataset_info.py     what is in a folder
robot_fit.py        whether a folder is a data set of this robot
"""
