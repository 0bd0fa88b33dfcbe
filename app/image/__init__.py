"""Image preprocessing: `decode` turns an upload into grey pixels, `normalise` into MNIST's form."""
