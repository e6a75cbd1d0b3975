"""`vmail doctor`: what a machine, its servos and its camera are fit for, and the command that mends what is not."""
