"""Normalised image → batch → MyNet → answer."""
