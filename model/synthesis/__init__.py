"""The imaging model: what low light, haze, rain, snow, noise, blur and JPEG do to a photograph."""
