"""The ROBEL D'Claw and its valve tasks as dm_control environments."""
