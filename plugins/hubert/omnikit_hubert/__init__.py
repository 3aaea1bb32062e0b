"""Speech units by k-means over the hidden states of HuBERT."""
