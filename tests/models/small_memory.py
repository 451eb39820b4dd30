"""A real engine on a device of a memory that the test chooses."""

from facededup.errors import DeviceMemoryError


class SmallMemory:
    """Computes what `engine` does, for at most so many faces at once, and says that it is a GPU."""

    device = "GPU"

    def __init__(self, engine, most):
        self._engine, self.most, self.shapes = engine, most, []

    def __getattr__(self, name):
        return getattr(self._engine, name)

    def run(self, chips):
        self.shapes.append(len(chips))
        if len(chips) > self.most:
            raise DeviceMemoryError(f"no memory for a batch of {len(chips)} faces")
        return self._engine.run(chips)
