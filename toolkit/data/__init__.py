"""From the training file to clean parts: reading, drawing, downloading, cleaning, splitting and
corrupting images."""
