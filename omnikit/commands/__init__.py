"""One file for each word of the command line: it parses, calls the library, prints."""
