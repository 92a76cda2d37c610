"""The embedded MuJoCo simulator: scene, cameras and ground truth of the topic contract in one process, without ROS."""
