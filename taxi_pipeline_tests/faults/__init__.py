"""The real job on the real stack, broken at named points: what the stores hold then, and after."""
