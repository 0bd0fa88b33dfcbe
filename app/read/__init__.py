"""Reading all digits of an image: the best path through the candidates of each line."""
