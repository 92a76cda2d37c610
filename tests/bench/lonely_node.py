"""Publishes its own name and says whom it heard: to be run many times at once by a test.

Arguments: name; ROS domain, or `own` to claim one; seconds to listen; number of the user to become. It goes on for as
long as its standard input is open, so that nobody leaves before everybody has listened.
"""

from __future__ import annotations

import json
import os
import select
import sys
import time

# These now: the user to become may not be allowed to read the standard library.
from concurrent.futures import ThreadPoolExecutor  # noqa: F401

import numpy as np  # noqa: F401
import rclpy
from std_msgs.msg import String

from salus_vla.ros.environment.domains import private_graph


def main() -> None:
    name, domain, seconds = sys.argv[1], sys.argv[2], float(sys.argv[3])
    os.setuid(int(sys.argv[4]))  # here, because that user may not be allowed to start this interpreter
    os.environ.pop("ROS_DOMAIN_ID", None)
    os.environ.pop("ROS_AUTOMATIC_DISCOVERY_RANGE", None)
    os.environ.pop("FASTRTPS_DEFAULT_PROFILES_FILE", None)
    if domain != "own":
        os.environ["ROS_DOMAIN_ID"] = domain
    with private_graph(os.environ, joins=True):
        print(os.environ["ROS_DOMAIN_ID"], flush=True)
        rclpy.init()
        node = rclpy.create_node(name)
        heard: set[str] = set()
        publisher = node.create_publisher(String, "/who_is_there", 10)
        node.create_subscription(String, "/who_is_there", lambda message: heard.add(message.data), 10)
        until = time.monotonic() + seconds
        said = ""
        while time.monotonic() < until or not select.select([sys.stdin], [], [], 0.0)[0]:
            publisher.publish(String(data=name))
            rclpy.spin_once(node, timeout_sec=0.1)
            known = " ".join(sorted(heard))
            if known != said:
                print(known, flush=True)
                said = known
        print(json.dumps(sorted(heard | set(node.get_node_names()))), flush=True)
        node.destroy_node()
        rclpy.try_shutdown()


if __name__ == "__main__":
    main()
