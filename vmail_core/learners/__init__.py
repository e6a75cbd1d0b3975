"""Learning algorithms: V-MAIL (Algorithm 1) and its controls. Needs torch."""
