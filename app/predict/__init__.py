"""Prediction: upload → normalised image → batch → MyNet → answer."""
