"""`vmail demo`: from recorded demonstrations to a page that shows the learned policy on a simulated D'Claw."""
