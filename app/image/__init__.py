"""From an upload's bytes to MNIST's own form: `decode`, then `normalise`."""
