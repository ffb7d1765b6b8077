"""A+ (Timofte, De Smet, Van Gool, ACCV 2014) for pysr."""
