"""Learning from demonstrations: episodes, models, learners and deployment.

Importing this package pulls in neither torch nor ROS nor a simulator: `robot`, `episodes` and
`deploy.runtime` run on a robot's computer that has numpy and onnxruntime alone.
"""
