"""File formats: chunks of PNG, what files carry besides pixels, formats that take further packages."""
