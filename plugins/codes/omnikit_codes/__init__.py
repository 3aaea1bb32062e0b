"""Speech heads for codecs of several codebooks."""
