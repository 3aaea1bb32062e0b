"""A live conversation: audio in pieces of any size in, events out. Uses no socket, no clock but the audio's, no thread."""
