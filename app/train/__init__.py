"""Request → job → loop → checkpoint → evaluate → promote."""
