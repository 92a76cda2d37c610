"""Many episodes without ROS, in parallel: workers on this machine or on a Ray cluster, and the store they fill.

Workers only make episodes; the process that hands them out writes every file, so an episode exists once or not at all.
"""
