"""The one place that joins concrete parts. Everything else asks for what it needs by protocol.

One module for each thing that is joined, because a command that lists keys should not load torch.
"""
