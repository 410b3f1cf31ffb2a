"""From finished training runs to the files that ship."""
