"""The cost of one operation: one file per subject, with every peer that knows the operation.

``python -m benchmarks.micro SUBJECT PEER SECONDS`` measures one peer in this process and prints one JSON
object. Only the function that measures a peer imports it, so the process holds nothing of the other peers.
"""
