"""Random requests and kills for minutes or hours, `make soak`."""
