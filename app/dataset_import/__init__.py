"""Import of data sets: a process reads the archive, and decoders read its images."""
