"""The robot's hardware: Dynamixel bus, guard, cameras, and an emulated bus. Knows neither ROS nor torch."""
