"""What one operation costs: one file per subject, every peer that knows the operation in it.

``python -m benchmarks.micro SUBJECT PEER SECONDS`` measures one peer in this process and prints one
JSON object. A peer is imported only by the function that measures it, so nothing of the others is
in its process.
"""
