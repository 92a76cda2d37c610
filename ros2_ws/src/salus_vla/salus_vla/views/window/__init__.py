"""The window for watching a policy: what it shows (plain numpy) and the Qt widgets that show it.

`watched_graph.py` and what it imports know nothing of Qt; the widgets know nothing of ROS. `ros/clients/rqt_plugin.py`
puts them into rqt. Nothing beyond numpy, PyQt5 and pyqtgraph is imported: rqt runs in the system's Python, which has
neither torch nor pydantic.
"""
