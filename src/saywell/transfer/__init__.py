"""What descriptions are good for: classifying images, with few images or none."""
