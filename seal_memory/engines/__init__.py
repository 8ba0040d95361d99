"""Where models run: finding and loading them, and the engines that score, train and answer with them."""
