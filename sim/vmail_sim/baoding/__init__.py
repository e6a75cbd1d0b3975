"""Two Baoding balls on the palm of the Shadow hand, PDDM's task, as a dm_control environment."""
