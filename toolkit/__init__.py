"""The cbtool library: everything between a competition's training file and a scored submission."""
